// The ws library, broadcasting as its own documentation does.
import { createServer } from "node:http";
import { WebSocketServer, WebSocket } from "ws";

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/page") {
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(Buffer.alloc(Number(url.searchParams.get("bytes")), "x"));
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    for (const socket of sockets.clients) {
      if (socket.readyState === WebSocket.OPEN) socket.send(body, { binary: false });
    }
    response.writeHead(201, { "Content-Type": "application/json", "Content-Length": body.length });
    response.end(body);
  });
});

server.on("upgrade", (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit("connection", ws, request));
});

server.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
