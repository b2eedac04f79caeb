"""A session, certificates and headers of the caller's."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chatsvc.client import ChatApi, ChatClient, Connected, Disconnected
from testkit.client_events import soon
from testkit.scripted_server import ScriptedServer

Connect = Callable[..., Any]


@pytest.mark.parametrize("raise_for_status", [True, False])
async def test_a_session_of_the_callers_is_used_and_not_closed(
    server: ScriptedServer, connect: Connect, raise_for_status: bool
) -> None:
    seen: list[str] = []

    async def note(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        seen.append(request.url.path)
        return await send(request)

    session = aiohttp.ClientSession(
        headers={"X-Session": "of the caller"},
        middlewares=(note,),
        raise_for_status=raise_for_status,
        timeout=aiohttp.ClientTimeout(total=60),
    )
    async with session:
        client = await connect(session=session)
        peer = await server.greet()
        await soon(client, Connected)
        assert peer.request.headers["X-Session"] == "of the caller"
        server.answer(503, {"code": "unavailable"}, Retry_After="0")
        server.answer(200, {"connections": {}})
        await client.connections(["alice"])
        assert seen == ["/ws", "/api/connections", "/api/connections"]
        await client.close()
        assert not session.closed
        async with ChatApi(server.url, "t", session=session) as api:
            await api.history()
        assert not session.closed


async def test_a_session_that_raises_for_a_status_says_what_was_refused(
    server: ScriptedServer, connect: Connect
) -> None:
    server.refusals.append(aiohttp.web.Response(status=502))
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        client = await connect(session=session)
        assert "502" in (await soon(client, Disconnected)).reason
        await server.greet()
        await soon(client, Connected)
        await client.close()


async def test_headers_of_the_callers_go_with_everything(
    server: ScriptedServer, connect: Connect
) -> None:
    headers = {"X-Tenant": "7", "Cookie": "route=a", "User-Agent": "app/1"}
    client = await connect(headers=headers)
    peer = await server.greet()
    await soon(client, Connected)
    await client.history()
    for request in (peer.request, server.requests[0]):
        assert {name: request.headers[name] for name in headers} == headers
        assert request.headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "content-type", "Content-Length", "Chatsvc-Device", "UPGRADE", "Connection",
     "Sec-WebSocket-Key", "sec-websocket-protocol"],
)  # fmt: skip
def test_headers_that_are_the_clients_own_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"headers must not contain {name}"):
        ChatClient("http://127.0.0.1:1", "t", headers={name: "x"})
    with pytest.raises(ValueError, match=f"headers must not contain {name}"):
        ChatApi("http://127.0.0.1:1", "t", headers={name: "x"})


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[ScriptedServer, ssl.SSLContext]]:
    """A server with a certificate of its own, and the context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "both.pem").write_bytes(secret + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "both.pem")
    trusting = ssl.create_default_context(cadata=certificate.decode())
    async with ScriptedServer().serve(ssl=context) as running:
        yield running, trusting


async def test_certificates_of_the_callers_are_trusted(
    secure: tuple[ScriptedServer, ssl.SSLContext],
) -> None:
    server, trusting = secure
    assert server.url.startswith("https://")
    async with ChatClient(server.url, "t", ssl=trusting) as client:
        await server.greet()
        await soon(client, Connected)
        assert (await client.history()).messages == []
    async with ChatClient(server.url, "t", max_attempts=1) as client:
        assert "certificate" in (await soon(client, Disconnected)).reason.lower()
