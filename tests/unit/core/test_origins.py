"""What browsers send as ``Origin``, and what they never do."""

from __future__ import annotations

import pytest

from chatsvc.core.origins import is_loopback_page, origin_error


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "http://localhost:5173",
        "http://127.0.0.1",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "null",
        "file://",
    ],
)
def test_an_origin_as_browsers_send_it(origin: str) -> None:
    assert origin_error(origin) is None


@pytest.mark.parametrize(
    ("text", "write"),
    [
        ("https://app.example.org/", "https://app.example.org"),
        ("https://app.example.org/chat", "https://app.example.org"),
        ("https://app.example.org?x", "https://app.example.org"),
        ("https://app.example.org#x", "https://app.example.org"),
        ("HTTPS://App.Example.org", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("http://app.example.org:80", "http://app.example.org"),
        ("http://app.example.org:443", None),
        ("https://alice:secret@app.example.org", "https://app.example.org"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("https://app.example.org:08443", "https://app.example.org:8443"),
        ("app.example.org", "https://app.example.org"),
        ("localhost:3000", "https://localhost:3000"),
    ],
)
def test_what_can_never_match_is_told_with_what_to_write(text: str, write: str | None) -> None:
    error = origin_error(text)
    if write is None:
        assert error is None
    else:
        assert error is not None
        assert error.endswith(f": write {write}")
        assert origin_error(write) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://*.example.org", "name each origin"),
        ("http://localhost:*", "name each origin"),
        ("https://a.example.org https://b.example.org", "joined by commas"),
        ("https://", "scheme://host"),
        ("https://a.example.org:port", "scheme://host:port"),
        ("https://[::1", "scheme://host"),
        ("://a.example.org", "scheme://host"),
        ("/chat", "must begin with a scheme"),
    ],
)
def test_what_is_no_origin_at_all(text: str, said: str) -> None:
    error = origin_error(text)
    assert error is not None
    assert said in error


@pytest.mark.parametrize(
    "origin",
    ["http://localhost", "http://localhost:5173", "http://127.0.0.1:1", "https://[::1]:65535"],
)
def test_pages_of_this_machine(origin: str) -> None:
    assert is_loopback_page(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "loopback",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org:80",
        "http://evil.example.org/http://localhost",
        "http://localhost:123456",
        "http://localhost:80\r\nX: y",
        "http://localhost\n",
        "ftp://localhost",
        "http://alocalhost",
        "http://LOCALHOST:1",
    ],
)
def test_pages_of_other_machines(origin: str) -> None:
    assert not is_loopback_page(origin)
