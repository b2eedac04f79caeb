"""The settings decide who verifies and who may mint."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.auth.authentication import authentication, check_authentication, is_loopback
from chatsvc.auth.minting import dev_secret, mint
from chatsvc.auth.principal import Principal
from chatsvc.core.errors import ConfigurationError, Unauthorized
from chatsvc.settings.table import load

SECRET = "0123456789abcdef0123456789abcdef"


def test_without_any_key_it_says_what_to_set() -> None:
    with pytest.raises(
        ConfigurationError, match=r"JWT_SECRET.*JWT_PUBLIC_KEY.*chatsvc dev"
    ) as caught:
        authentication(load({}))
    assert "\n" not in str(caught.value)


def test_every_setting_reaches_the_verifier() -> None:
    settings = load(
        {
            "JWT_SECRET": SECRET,
            "JWT_AUDIENCE": "chat, other",
            "JWT_ISSUER": "login",
            "JWT_LEEWAY_SECONDS": "5",
            "JWT_USER_CLAIM": "email",
            "TOKEN_CACHE_SECONDS": "1",
            "TOKEN_CACHE_SIZE": "1",
            "MAX_USER_ID": "5",
        }
    )
    now = [1_800_000_000.0]
    verifier = authentication(settings, clock=lambda: now[0]).verifier

    def made(
        user: str = "alice", *, aud: str = "chat", iss: str = "login", claim: str = "email"
    ) -> str:
        return mint(
            SECRET.encode(), user, 60, claim=claim, audience=(aud,), issuer=(iss,),
            clock=lambda: now[0],
        )  # fmt: skip

    assert verifier.verify(made()).user == "alice"
    verifier.verify(made("bob"))
    assert verifier.cached == 1
    for bad in (made("caroll"), made(aud="x"), made(iss="x"), made(claim="id")):
        with pytest.raises(Unauthorized):
            verifier.verify(bad)
    old = made()
    now[0] += 64
    assert verifier.verify(old).user == "alice"
    now[0] += 1
    with pytest.raises(Unauthorized):
        verifier.verify(old)


def test_the_seconds_of_the_cache_reach_the_verifier() -> None:
    now = [1_800_000_000.0]
    settings = load({"JWT_SECRET": SECRET, "TOKEN_CACHE_SECONDS": "2"})
    verifier = authentication(settings, clock=lambda: now[0]).verifier
    for user in ("alice", "bob"):
        verifier.verify(mint(SECRET.encode(), user, 60, clock=lambda: now[0]))
        now[0] += 2
    assert verifier.cached == 1, "the first was forgotten when the second came"


def test_no_development_login_by_default(tmp_path: Path) -> None:
    found = authentication(load({"JWT_SECRET": SECRET, "DATA_DIR": str(tmp_path)}))
    assert found.mint_dev is None
    assert list(tmp_path.iterdir()) == []


def test_the_development_secret_is_worth_nothing_once_it_is_off(tmp_path: Path) -> None:
    left_over = mint(dev_secret(tmp_path), "alice", 60)
    found = authentication(load({"JWT_SECRET": SECRET, "DATA_DIR": str(tmp_path)}))
    with pytest.raises(Unauthorized, match="signature"):
        found.verifier.verify(left_over)


@pytest.mark.parametrize("who", ["loopback", "anywhere"])
def test_the_development_login_mints_what_is_accepted(tmp_path: Path, who: str) -> None:
    settings = load(
        {
            "DEV_LOGIN": who,
            "DATA_DIR": str(tmp_path),
            "JWT_AUDIENCE": "chat",
            "JWT_ISSUER": "login",
            "JWT_USER_CLAIM": "email",
        }
    )
    found = authentication(settings)
    assert found.mint_dev is not None
    token, expires_at = found.mint_dev("alice")
    assert found.verifier.verify(token) == Principal("alice", expires_at)


def test_the_development_login_goes_by_the_given_clock(tmp_path: Path) -> None:
    settings = load({"DEV_LOGIN": "anywhere", "DATA_DIR": str(tmp_path)})
    found = authentication(settings, clock=lambda: 2_000_000_000.9)
    assert found.mint_dev is not None
    token, expires_at = found.mint_dev("alice")
    assert expires_at == 2_000_000_000 + 24 * 3600
    assert found.verifier.verify(token) == Principal("alice", expires_at)


def test_a_check_makes_no_secret_and_reads_one_that_is_there(tmp_path: Path) -> None:
    settings = load({"DEV_LOGIN": "anywhere", "DATA_DIR": str(tmp_path), "JWT_SECRET": SECRET})
    keys = check_authentication(settings)
    assert [key.material for key in keys] == [SECRET.encode()]
    assert list(tmp_path.iterdir()) == []
    dev_secret(tmp_path)
    assert check_authentication(settings) == keys
    (tmp_path / "dev-secret").chmod(0o644)
    with pytest.raises(ConfigurationError, match="must not be open to other users"):
        check_authentication(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_a_login_for_loopback_refuses_to_be_reached_by_others(tmp_path: Path, host: str) -> None:
    settings = load(
        {"DATA_DIR": str(tmp_path)},
        {"DEV_LOGIN": ("loopback", "test"), "HOST": (host, "test")},
    )
    with pytest.raises(ConfigurationError, match=r"^DEV_LOGIN: must not be loopback"):
        authentication(settings)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]"])
def test_what_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "X127.0.0.1", "127.0.0.1.example.org", "localhost.", "::2"])
def test_what_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
