"""Keys are pinned by the configuration, and a key that cannot be used stops the start."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from chatsvc.auth.keys import load_keys, load_secrets
from chatsvc.core.errors import ConfigurationError
from chatsvc.settings.table import Settings, load

SECRET = "a secret of exactly 32 bytes ----"[:32]
PRIVATE = ec.generate_private_key(ec.SECP256R1())


def settings(**variables: str) -> Settings:
    return load(variables)


def pem(private: object) -> str:
    public = private.public_key()  # type: ignore[attr-defined]
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_keys(settings(**variables))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_set_is_no_key() -> None:
    assert load_keys(settings()) == ()


def test_a_secret_of_32_bytes_is_hs256() -> None:
    (key,) = load_keys(settings(JWT_SECRET=SECRET))
    assert (key.algorithm, key.material) == ("HS256", SECRET.encode())


def test_bytes_are_counted_not_characters() -> None:
    assert len(load_keys(settings(JWT_SECRET="é" * 16))) == 1


def test_a_short_secret_is_refused_without_being_shown() -> None:
    text = refusal(JWT_SECRET="hunter2-hunter2")
    assert text.startswith("JWT_SECRET: ")
    assert "not 15" in text
    assert "32" in text
    assert "hunter2" not in text


def test_one_short_secret_among_good_ones_is_refused() -> None:
    assert "not 5" in refusal(JWT_SECRET=f"{SECRET}\nshort")


def test_several_secrets_one_a_line_in_order() -> None:
    found = load_secrets(settings(JWT_SECRET=f"{SECRET}\r\n\n{SECRET[::-1]}\n"))
    assert found == (SECRET.encode(), SECRET[::-1].encode())


@pytest.mark.parametrize("secret", ["x" * 32 + " ", " " + "x" * 32, "x" * 31 + "X", "\tx" * 16])
def test_a_secret_is_taken_as_it_is_but_for_its_newline(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "secret"
    for end in ("", "\n", "\r", "\r\n"):
        assert load_secrets(settings(JWT_SECRET=secret + end)) == (secret.encode(),)
        file.write_bytes((secret + end).encode())
        assert load_secrets(settings(JWT_SECRET_FILE=str(file))) == (secret.encode(),)


def test_a_variable_of_bytes_that_are_no_text_is_those_bytes() -> None:
    raw = b"\xff\x80" + SECRET.encode()
    variable = raw.decode("utf-8", "surrogateescape")  # as os.environ holds it
    assert load_secrets(settings(JWT_SECRET=variable)) == (raw,)


def test_a_key_does_not_show_in_its_repr() -> None:
    assert SECRET not in repr(load_keys(settings(JWT_SECRET=SECRET)))


def test_a_pem_as_secret_is_refused() -> None:
    assert "JWT_PUBLIC_KEY" in refusal(JWT_SECRET=pem(PRIVATE))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_is_read_without_its_last_newline(tmp_path: Path, end: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(f"{SECRET}{end}".encode())
    (key,) = load_keys(settings(JWT_SECRET_FILE=str(file)))
    assert key.material == SECRET.encode()


@pytest.mark.parametrize("name", ["JWT_SECRET", "JWT_PUBLIC_KEY"])
def test_a_value_and_a_file_together_are_refused(name: str) -> None:
    text = refusal(**{name: SECRET, f"{name}_FILE": "/nowhere"})
    assert text.startswith(f"{name} and {name}_FILE: must not both be set")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    text = refusal(JWT_PUBLIC_KEY_FILE=str(tmp_path / "key.pem"))
    assert text.startswith("JWT_PUBLIC_KEY_FILE: ")
    assert "No such file" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n", "must not be empty"),
        (b"\xff" * 40, "must be UTF-8"),
        (b"a" * 2**21, "at most"),
    ],
)
def test_a_file_of_no_use_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    assert said in refusal(JWT_SECRET_FILE=str(file))


def test_a_file_of_the_maximum_size_is_good_and_no_more_is_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"a" * 2**20)
    assert load_secrets(settings(JWT_SECRET_FILE=str(file))) == (b"a" * 2**20,)
    os.truncate(file, 2**40)  # without blocks on the disk; too large for the memory
    assert "must have at most 1048576 bytes" in refusal(JWT_SECRET_FILE=str(file))


@pytest.mark.parametrize("name", ["JWT_SECRET_FILE", "JWT_PUBLIC_KEY_FILE"])
def test_the_file_is_named_by_its_variable(tmp_path: Path, name: str) -> None:
    file = tmp_path / "key"
    file.write_text("-----BEGIN PUBLIC KEY-----")
    assert refusal(**{name: str(file)}).startswith(f"{name}: must ")


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RS256"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate, "EdDSA"),
        (ed448.Ed448PrivateKey.generate, "EdDSA"),
    ],
)
def test_the_keys_type_decides_the_algorithm(make: Callable[[], object], algorithm: str) -> None:
    text = pem(make())
    (key,) = load_keys(settings(JWT_PUBLIC_KEY=text))
    assert key.algorithm == algorithm
    assert not isinstance(key.material, bytes)
    spki = key.material.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert spki.decode() == text


def test_secrets_and_blocks_are_all_taken_with_words_between() -> None:
    text = f"the old one\n{pem(PRIVATE)}\nthe new one\n{pem(ed25519.Ed25519PrivateKey.generate())}"
    keys = load_keys(settings(JWT_SECRET=SECRET, JWT_PUBLIC_KEY=text))
    assert [key.algorithm for key in keys] == ["HS256", "ES256", "EdDSA"]


def test_a_pem_on_one_line() -> None:
    on_one = pem(PRIVATE).replace("\n", "\\n")
    (key,) = load_keys(settings(JWT_PUBLIC_KEY=on_one))
    assert key.algorithm == "ES256"
    assert len(load_keys(settings(JWT_PUBLIC_KEY=f"{on_one}\n{on_one}"))) == 2


def test_a_certificate_stands_for_its_key() -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(PRIVATE.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(PRIVATE, hashes.SHA256())
    )
    (key,) = load_keys(settings(JWT_PUBLIC_KEY=certificate.public_bytes(Encoding.PEM).decode()))
    assert key.algorithm == "ES256"


def test_a_short_rsa_key_is_refused() -> None:
    assert refusal(JWT_PUBLIC_KEY=pem(rsa.generate_private_key(65537, 1024))) == (
        "JWT_PUBLIC_KEY: key 1 must have at least 2048 bits for RS256 (RFC 7518 §3.3), not 1024"
    )


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    text = refusal(JWT_PUBLIC_KEY=pem(ec.generate_private_key(curve)))
    assert text.startswith("JWT_PUBLIC_KEY: key 1 must be on the curve P-256")
    assert text.endswith(f"not on {curve.name}")


def test_another_kind_of_key_is_refused() -> None:
    assert "must be RSA, P-256 or Ed25519" in refusal(
        JWT_PUBLIC_KEY=pem(dsa.generate_private_key(2048))
    )


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_private_key_is_refused_and_not_shown(form: PrivateFormat) -> None:
    private = PRIVATE.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    text = refusal(JWT_PUBLIC_KEY=pem(PRIVATE) + private)
    assert text.startswith("JWT_PUBLIC_KEY: key 2 must not be a private key")
    assert private.splitlines()[1] not in text


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
        '{"kty":"EC"}',
        "-----BEGIN PUBLIC KEY-----\nMFkw",
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END RSA PUBLIC KEY-----",
    ],
)
def test_what_is_not_pem_is_refused(text: str) -> None:
    assert refusal(JWT_PUBLIC_KEY=text).startswith("JWT_PUBLIC_KEY: must be PEM")


@pytest.mark.parametrize("label", ["PUBLIC KEY", "CERTIFICATE"])
def test_pem_that_holds_no_key_is_refused(label: str) -> None:
    text = refusal(JWT_PUBLIC_KEY=f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----")
    assert text == f"JWT_PUBLIC_KEY: key 1 ({label}) must be a public key: it cannot be decoded"
