"""nginx as docs/operations.md configures it: the document's own blocks, with ports and
certificates of this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "operations.md"
NO_NGINX = "no nginx: put it on the PATH, or in /usr/sbin"
START_SECONDS = 30.0
TRIES = 5
"""Ports that are tried: another process may take one between the look and the start."""

_AROUND = """\
daemon off;
pid {folder}/pid;
error_log stderr warn;
{user}
events {{ worker_connections 2048; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{inside}
}}
"""


class Nginx(NamedTuple):
    """A running one. ``authority``: the file of the certificate that vouches for it."""

    url: str
    authority: Path


def program() -> str | None:
    """The nginx of this machine; Debian's is where only root's PATH leads."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def blocks() -> list[str]:
    """The configurations that the guide shows, in their order."""
    return re.findall(r"^```nginx\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)


def with_prefix(server: str, prefix: str) -> str:
    """The first block, with the ``location`` of the second in place of its own."""
    own = re.search(r"^    location / \{\n.*?^    \}\n", server, re.M | re.S)
    assert own, "the guide's nginx has no location /"
    return server.replace(own[0], "".join(f"    {line}\n" for line in prefix.splitlines()))


@contextlib.contextmanager
def running(executable: str, folder: Path, block: str, service: str) -> Iterator[Nginx]:
    """nginx in front of a service; ``folder`` is made for its files."""
    folder.mkdir()
    certificate = make_certificate(folder)
    for last in (*[False] * (TRIES - 1), True):
        port = _free_port()
        inside = _replaced(
            block,
            {
                "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
                "server 127.0.0.1:8080;": f"server {urlsplit(service).netloc};",
                "/etc/ssl/chat.example.org.pem": str(certificate),
                "/etc/ssl/chat.example.org.key": str(certificate.with_suffix(".key")),
            },
        )
        user = "user root;" if os.getuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(_AROUND.format(folder=folder, user=user, inside=inside))
        errors = folder / "errors"
        with errors.open("wb") as output:
            process = subprocess.Popen(
                [executable, "-c", str(config), "-p", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            if _answers(process, port):
                yield Nginx(f"https://localhost:{port}", certificate)
                return
        finally:
            process.terminate()
            process.wait(START_SECONDS)
        said = errors.read_text("utf-8", "replace")
        if last or "Address already in use" not in said:
            raise AssertionError(f"nginx did not start: {said}")


def _replaced(block: str, pieces: dict[str, str]) -> str:
    for documented, here in pieces.items():
        assert block.count(documented) == 1, f"the guide's nginx has no {documented!r}"
        block = block.replace(documented, here)
    return block


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return process.poll() is None
    return False


def make_certificate(folder: Path) -> Path:
    """One for the guide's name and this machine, which vouches for itself; its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chat.example.org")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("chat.example.org"), x509.DNSName("localhost")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
