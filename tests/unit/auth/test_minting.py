"""Tokens made here are good here; the development secret is made once and kept private."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import jwt
import pytest

from chatsvc.auth import minting
from chatsvc.auth.keys import Key
from chatsvc.auth.minting import dev_secret, mint, read_dev_secret
from chatsvc.auth.tokens import TokenVerifier
from chatsvc.core.errors import ConfigurationError, TokenExpired

SECRET = b"0123456789abcdef0123456789abcdef"


def test_a_minted_token_is_good_for_its_time_and_no_longer() -> None:
    now = [1_800_000_000.9]
    made = mint(SECRET, "alice", 60, clock=lambda: now[0])
    verifier = TokenVerifier((Key("HS256", SECRET),), leeway=0, clock=lambda: now[0])
    principal = verifier.verify(made)
    assert (principal.user, principal.expires_at) == ("alice", 1_800_000_060)
    now[0] += 60
    with pytest.raises(TokenExpired):
        verifier.verify(made)


def test_it_carries_what_the_verifier_is_configured_to_ask_for() -> None:
    made = mint(SECRET, "alice", 60, claim="email", audience=("a", "b"), issuer=("i", "j"))
    verifier = TokenVerifier(
        (Key("HS256", SECRET),), audience=("b",), issuer=("i",), user_claim="email"
    )
    assert verifier.verify(made).user == "alice"
    assert "id" not in jwt.decode(made, options={"verify_signature": False})


def test_without_a_claim_the_user_is_the_id_and_the_times_are_whole_seconds() -> None:
    made = mint(SECRET, "alice", 60.9, claim="", clock=lambda: 1_800_000_000.9)
    assert jwt.decode(made, options={"verify_signature": False}) == {
        "id": "alice",
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
    }


def test_the_secret_is_private_and_long_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first = dev_secret(folder)
    assert isinstance(first, bytes)
    assert len(first) >= 32
    assert dev_secret(folder) == first
    assert (folder / "dev-secret").read_bytes() == first + b"\n"
    assert (folder / "dev-secret").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in folder.iterdir()] == ["dev-secret"]
    assert dev_secret(tmp_path / "other") != first


def test_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        dev_secret(tmp_path / "data")
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "dev-secret").stat().st_mode & 0o777 == 0o600


def test_one_that_is_there_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dev_secret(tmp_path)
    monkeypatch.setattr(minting, "_create", pytest.fail)
    assert dev_secret(tmp_path) == first


@pytest.mark.parametrize(("size", "read"), [(32, 32), (5000, 4096)])
def test_a_secret_of_32_bytes_is_enough_and_4096_are_read(
    tmp_path: Path, size: int, read: int
) -> None:
    path = tmp_path / "dev-secret"
    path.touch(0o600)
    path.write_bytes(b"x" * size)
    assert read_dev_secret(path) == b"x" * read


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o602])
def test_one_that_others_may_know_or_have_written_is_refused(tmp_path: Path, mode: int) -> None:
    dev_secret(tmp_path)
    (tmp_path / "dev-secret").chmod(mode)
    with pytest.raises(
        ConfigurationError,
        match=rf"^DATA_DIR: {tmp_path}/dev-secret must not be open [^\n]*mode 0{mode:o}[^\n]*$",
    ):
        dev_secret(tmp_path)
    (tmp_path / "dev-secret").unlink()
    assert len(dev_secret(tmp_path)) >= 32


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_refused_and_not_followed(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "elsewhere"
    if there:
        target.write_text("x" * 40)
        target.chmod(0o600)
    (tmp_path / "dev-secret").symlink_to(target)
    with pytest.raises(
        ConfigurationError,
        match=rf"^DATA_DIR: {tmp_path}/dev-secret must not be a symbolic link: remove",
    ):
        dev_secret(tmp_path)
    assert target.exists() is there


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dev_secret(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(
        ConfigurationError, match=rf"^DATA_DIR: {tmp_path}/dev-secret must belong to the user"
    ):
        dev_secret(tmp_path)


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dev-secret", 0o600)
    with pytest.raises(
        ConfigurationError, match=rf"^DATA_DIR: {tmp_path}/dev-secret must be a regular file"
    ):
        dev_secret(tmp_path)


def test_all_who_make_it_at_once_get_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All see that there is none before any of them writes."""
    threads = 8
    barrier = threading.Barrier(threads, timeout=30)
    create = minting._create

    def together(path: Path) -> None:
        barrier.wait()
        create(path)

    monkeypatch.setattr(minting, "_create", together)
    found: list[bytes] = []
    workers = [
        threading.Thread(target=lambda: found.append(dev_secret(tmp_path))) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(found) == threads
    assert len(set(found)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["dev-secret"]


def test_a_file_that_was_not_made_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dev-secret").write_text("short\n")
    (tmp_path / "dev-secret").chmod(0o600)
    with pytest.raises(
        ConfigurationError,
        match=rf"^DATA_DIR: {tmp_path}/dev-secret must be a secret that chatsvc made: remove it",
    ):
        dev_secret(tmp_path)


def test_one_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^DATA_DIR: cannot use {tmp_path}/dev-secret: No such file"
    ):
        read_dev_secret(tmp_path / "dev-secret")


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: cannot use [^\n]*$"):
        dev_secret(tmp_path / "file")
