"""The keys that tokens are verified with, each pinned to one algorithm.

``JWT_SECRET`` means HS256 and nothing else; what a block of ``JWT_PUBLIC_KEY`` means is
decided by the key's own type. A token's header never decides (RFC 8725 §3.1), so the
public key cannot be used as an HMAC secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import Settings

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2: an HS256 key must be at least as long as the hash."""

MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""

_MAX_FILE_BYTES: Final = 1024 * 1024
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm (RFC 7518 name) that it verifies.

    ``material`` never shows in a ``repr``: a secret must not reach a log that way.
    """

    algorithm: str
    material: bytes | PublicKey = field(repr=False)


def load_keys(settings: Settings) -> tuple[Key, ...]:
    """Return the keys that ``JWT_SECRET`` and ``JWT_PUBLIC_KEY``, or their ``_FILE``s, configure.

    In the order they are written; empty where none is set.

    Raises:
        ConfigurationError: one line that names the variable and never shows its value.
    """
    keys = [Key("HS256", secret) for secret in load_secrets(settings)]
    name, text = _value(
        "JWT_PUBLIC_KEY",
        settings.jwt_public_key,
        "JWT_PUBLIC_KEY_FILE",
        settings.jwt_public_key_file,
    )
    if text:
        keys.extend(_public_keys(name, text))
    return tuple(keys)


def load_secrets(settings: Settings) -> tuple[bytes, ...]:
    """Return only the HS256 secrets, one per line of ``JWT_SECRET`` or its ``_FILE``.

    Raises:
        ConfigurationError: as :func:`load_keys`.
    """
    name, text = _value(
        "JWT_SECRET", settings.jwt_secret, "JWT_SECRET_FILE", settings.jwt_secret_file
    )
    if "-----BEGIN" in text:
        raise ConfigurationError(
            f"{name}: must not be a PEM key: a public key belongs in JWT_PUBLIC_KEY"
        )
    return tuple(_secret(name, line) for line in text.replace("\r\n", "\n").split("\n") if line)


def _secret(name: str, line: str) -> bytes:
    raw = line.encode("utf-8", "surrogateescape")
    if len(raw) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"{name}: a secret must have at least {MIN_SECRET_BYTES} bytes (RFC 7518 §3.2), not "
            f"{len(raw)}: a shorter one can be guessed from any one token; make one with: "
            "openssl rand -base64 48"
        )
    return raw


def _value(name: str, value: str, file_name: str, file: str) -> tuple[str, str]:
    """Return the name of the variable that is set, and its text without trailing newlines."""
    if value and file:
        raise ConfigurationError(f"{name} and {file_name}: must not both be set: keep one of them")
    if not file:
        return name, value.rstrip("\r\n")
    try:
        with Path(file).expanduser().open("rb") as handle:
            raw = handle.read(_MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"{file_name}: cannot read {file!r}: {exc.strerror}") from exc
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigurationError(f"{file_name}: {file!r} must have at most {_MAX_FILE_BYTES} bytes")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file_name}: {file!r} must be UTF-8 text") from None
    if not text:
        raise ConfigurationError(f"{file_name}: {file!r} must not be empty")
    return file_name, text


def _public_keys(name: str, text: str) -> list[Key]:
    # Some tools keep variables on one line and write the newlines of a PEM as \n.
    text = text.replace("\\n", "\n")
    blocks = list(_BLOCK.finditer(text))
    if not blocks or len(blocks) != text.count("-----BEGIN"):
        raise ConfigurationError(
            f"{name}: must be PEM: a public key begins with -----BEGIN PUBLIC KEY----- and has "
            "its END line"
        )
    keys = []
    for index, block in enumerate(blocks, 1):
        where = f"{name}: key {index}"
        label = block.group(1)
        if "PRIVATE" in label:
            raise ConfigurationError(
                f"{where} must not be a private key: give chatsvc the public half (openssl pkey "
                "-in private.pem -pubout)"
            )
        keys.append(_pin(where, _load(where, label, block.group(0).encode())))
    return keys


def _load(where: str, label: str, pem: bytes) -> object:
    try:
        if label == "CERTIFICATE":
            return x509.load_pem_x509_certificate(pem).public_key()
        return load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        # The library's text has several lines and says less than this.
        raise ConfigurationError(
            f"{where} ({label}) must be a public key: it cannot be decoded"
        ) from None


def _pin(where: str, key: object) -> Key:
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise ConfigurationError(
                f"{where} must have at least {MIN_RSA_BITS} bits for RS256 (RFC 7518 §3.3), not "
                f"{key.key_size}"
            )
        return Key("RS256", key)
    if isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, SECP256R1):
            raise ConfigurationError(
                f"{where} must be on the curve P-256 for ES256 (RFC 7518 §3.4), not on "
                f"{key.curve.name}"
            )
        return Key("ES256", key)
    if isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return Key("EdDSA", key)
    raise ConfigurationError(f"{where} must be RSA, P-256 or Ed25519")
