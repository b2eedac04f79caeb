"""``chatsvc token``: what it prints is accepted by a service with the same settings."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chatsvc.auth.authentication import authentication
from chatsvc.auth.minting import dev_secret
from chatsvc.cli import main
from chatsvc.cli.token import parse_ttl
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import load

Captured = pytest.CaptureFixture[str]
SECRET = "0123456789abcdef0123456789abcdef"


def test_signed_with_the_first_secret_for_an_hour(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", f"{SECRET}\n{SECRET[::-1]}")
    before = int(time.time())
    assert main(["token", "alice"]) == 0
    out = capsys.readouterr().out
    principal = authentication(load({"JWT_SECRET": SECRET})).verifier.verify(out.strip())
    assert principal.user == "alice"
    assert before + 3600 <= principal.expires_at <= int(time.time()) + 3600
    assert out.count("\n") == 1


def test_with_all_that_the_service_asks_for(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "JWT_SECRET": SECRET,
        "JWT_AUDIENCE": "chat",
        "JWT_ISSUER": "login",
        "JWT_USER_CLAIM": "email",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["token", "zoë", "--ttl", "1d"]) == 0
    verifier = authentication(load(environment)).verifier
    assert verifier.verify(capsys.readouterr().out.strip()).user == "zoë"


def test_with_the_secret_of_a_development_service_in_the_same_folder(
    capsys: Captured, folder: Path
) -> None:
    dev_secret(folder / "here")
    assert main(["token", "alice", "--data-dir", "here"]) == 0
    settings = load({"DEV_LOGIN": "loopback", "DATA_DIR": str(folder / "here")})
    verifier = authentication(settings).verifier
    assert verifier.verify(capsys.readouterr().out.strip()).user == "alice"


def test_without_any_secret_it_says_where_one_would_come_from(
    capsys: Captured, folder: Path
) -> None:
    assert main(["token", "alice"]) == 2
    err = capsys.readouterr().err
    assert "JWT_SECRET" in err
    assert "--data-dir" in err
    assert list(folder.iterdir()) == []


def test_a_public_key_signs_nothing(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_PUBLIC_KEY_FILE", "/some/key.pem")
    assert main(["token", "alice"]) == 2
    assert "private key" in capsys.readouterr().err


@pytest.mark.parametrize("user", ["", "a,b", " alice", "x" * 129])
def test_not_for_what_is_no_user_id(
    user: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert main(["token", user]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("chatsvc: USER: a user id")
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("30d", 2_592_000)]
)
def test_times(text: str, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5h", "1w", "h", "3651d", "9" * 30, "1h\n", "٣"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--ttl"):
        parse_ttl(text)
