// gorilla/websocket, broadcasting as its chat example does: a queue and a writer for each
// client, and the message prepared once for all of them.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

const queued = 1024

var (
	upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	lock     sync.RWMutex
	clients  = map[chan *websocket.PreparedMessage]struct{}{}
)

func serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	queue := make(chan *websocket.PreparedMessage, queued)
	done := make(chan struct{})
	lock.Lock()
	clients[queue] = struct{}{}
	lock.Unlock()
	go func() {
		for {
			select {
			case message := <-queue:
				if conn.WritePreparedMessage(message) != nil {
					return
				}
			case <-done:
				return
			}
		}
	}()
	for {
		if _, _, err := conn.NextReader(); err != nil {
			break
		}
	}
	lock.Lock()
	delete(clients, queue)
	lock.Unlock()
	close(done)
	conn.Close()
}

func publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	lock.RLock()
	for queue := range clients {
		queue <- message
	}
	lock.RUnlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusCreated)
	w.Write(body)
}

func page(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.Atoi(r.URL.Query().Get("bytes"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(size))
	w.Write(bytes.Repeat([]byte("x"), size))
}

func main() {
	http.HandleFunc("/ws", serveSocket)
	http.HandleFunc("/publish", publish)
	http.HandleFunc("/page", page)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
