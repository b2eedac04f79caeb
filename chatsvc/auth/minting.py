"""Tokens made here: by ``chatsvc token``, by the development login and by tests.

An application mints its own, with its own login; chatsvc only needs the key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import jwt

from chatsvc.auth.keys import MIN_SECRET_BYTES
from chatsvc.core.errors import ConfigurationError

DEV_SECRET_NAME: Final = "dev-secret"


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
    """A token (HS256) that speaks for ``user`` during ``ttl`` seconds.

    Args:
        claim: the claim that carries the user id; empty: ``id``.
        audience: what goes into ``aud``, if anything.
        issuer: the first goes into ``iss``.
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
    """The secret of the development login: ``DATA_DIR/dev-secret``, made at the first call.

    Random, readable by its owner alone, and the same after a restart. Of processes that
    make it at once, all get the one that was first.

    Raises:
        ConfigurationError: it cannot be read, made or used; one line.
    """
    path = data_dir / DEV_SECRET_NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        secret = path.read_bytes().strip()
    except OSError as exc:
        raise ConfigurationError(f"DATA_DIR: cannot use {path}: {exc.strerror}") from exc
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"DATA_DIR: {path} is not a secret that was made here: remove it, and a new one is made"
        )
    return secret


def _create(path: Path) -> None:
    """Write beside, then link: whoever sees the name sees all of the bytes."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(secrets.token_urlsafe(MIN_SECRET_BYTES).encode() + b"\n")
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret counts
            os.link(draft, path)
    finally:
        draft.unlink()
