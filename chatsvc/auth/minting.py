"""Make tokens: for ``chatsvc token``, for the development login and for tests.

An application makes its own tokens with its own login; chatsvc only needs the key.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import jwt

from chatsvc.auth.keys import MIN_SECRET_BYTES
from chatsvc.core.errors import ConfigurationError

DEV_SECRET_NAME: Final = "dev-secret"
_MAX_SECRET_BYTES: Final = 4096


def mint(
    secret: bytes,
    user: str,
    ttl: float,
    *,
    claim: str = "id",
    audience: Sequence[str] = (),
    issuer: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> str:
    """Return a token (HS256) of ``user`` that is valid for ``ttl`` seconds.

    Args:
        claim: the claim that holds the user id; empty: ``id``.
        audience: the value of ``aud``; empty: no ``aud``.
        issuer: its first entry is the value of ``iss``; empty: no ``iss``.
        clock: Unix time in seconds.
    """
    now = int(clock())
    claims: dict[str, Any] = {claim or "id": user, "iat": now, "exp": now + int(ttl)}
    if audience:
        claims["aud"] = list(audience)
    if issuer:
        claims["iss"] = issuer[0]
    return jwt.encode(claims, secret, algorithm="HS256")


def dev_secret(data_dir: Path) -> bytes:
    """Return the secret of the development login, ``DATA_DIR/dev-secret``; create it if absent.

    The secret is random, readable only by its owner, and the same after a restart. Processes
    that create it at the same time all get the one that was written first.

    Raises:
        ConfigurationError: it cannot be read or created, or others may know it; one line.
    """
    path = data_dir / DEV_SECRET_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            _create(path)
    except OSError as exc:
        raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc.strerror}") from exc
    return read_dev_secret(path)


def read_dev_secret(path: Path) -> bytes:
    """Return the secret in a file that :func:`dev_secret` has created.

    Raises:
        ConfigurationError: chatsvc did not create the file, or others may have read or
            written it: anyone who knows the secret can make tokens for any user. One line.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise _unusable(path, "must not be a symbolic link") from exc
        raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc.strerror}") from exc
    with os.fdopen(descriptor, "rb") as handle:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise _unusable(path, "must be a regular file")
        if state.st_uid != os.geteuid():
            raise _unusable(path, "must belong to the user that runs chatsvc")
        if state.st_mode & 0o077:
            mode = f"{stat.S_IMODE(state.st_mode):04o}"
            raise _unusable(path, f"must not be open to other users of this machine (mode {mode})")
        secret = handle.read(_MAX_SECRET_BYTES).strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise _unusable(path, "must be a secret that chatsvc made")
    return secret


def _unusable(path: Path, rule: str) -> ConfigurationError:
    return ConfigurationError(
        f"DATA_DIR: {path} {rule}: remove it, and chatsvc makes a new one; earlier tokens of "
        "the development login are then refused"
    )


def _create(path: Path) -> None:
    """Write another file, then link it: a reader of ``path`` always finds all of the bytes."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_urlsafe(MIN_SECRET_BYTES).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret is used
            os.link(draft, path)
    finally:
        draft.unlink()
