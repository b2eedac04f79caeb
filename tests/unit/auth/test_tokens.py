"""A token of a wrong form or signature is refused by name."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chatsvc.auth.keys import Key
from chatsvc.auth.principal import Principal
from chatsvc.auth.tokens import MAX_TOKEN_BYTES, TokenVerifier
from chatsvc.core.errors import Unauthorized
from tests.unit.support.tokens import (
    GOOD,
    NOW,
    OTHER,
    SECRET,
    b64,
    refusal,
    signed,
    token,
    verifier,
)


def test_a_good_token_says_who_and_until_when() -> None:
    assert verifier().verify(token()) == Principal("alice", NOW + 3600)


def test_a_token_of_a_well_known_library_is_good() -> None:
    made = jwt.encode({**GOOD, "iat": NOW, "nbf": NOW}, SECRET, headers={"kid": "1"})
    assert verifier().verify(made).user == "alice"


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "..", "a.b.c", "!.!.!", token() + ".x", "Bearer " + token(), token() + "\n"],
)
def test_what_is_no_jwt(text: str) -> None:
    assert "must be a JWT" in refusal(text)


@pytest.mark.parametrize("text", ["é.é.é", token() + "\udcff"])
def test_characters_beyond_ascii(text: str) -> None:
    assert "ASCII" in refusal(text)


def test_the_maximum_length_is_good() -> None:
    longest = token(pad="x" * 6050)
    assert len(longest) == MAX_TOKEN_BYTES
    assert verifier().verify(longest).user == "alice"


def test_a_long_token_is_refused_unread() -> None:
    long = token(pad="x" * MAX_TOKEN_BYTES)
    assert str(MAX_TOKEN_BYTES) in refusal(long)


@pytest.mark.parametrize("header", ["{", "[]", '"HS256"', b"\xff", '{"alg":"HS256","kid":7}'])
def test_a_header_that_cannot_be_read(header: str | bytes) -> None:
    assert "must be a JWT" in refusal(signed(json.dumps(GOOD), header))


def test_a_header_nested_beyond_reason() -> None:
    assert "must be a JWT" in refusal(signed("{}", "[" * 5900))


@pytest.mark.parametrize("payload", ["{", "", b"\xff", "[" * 5000, '{"exp":NaN}', '{"exp":1e400}'])
def test_a_payload_that_is_not_json(payload: str | bytes) -> None:
    assert "payload must be JSON" in refusal(signed(payload))


@pytest.mark.parametrize("payload", ["[]", '"alice"', "null", "1"])
def test_a_payload_that_is_no_object(payload: str) -> None:
    assert "must be a JSON object" in refusal(signed(payload))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], [[]], "exp", None])
def test_critical_extensions_are_refused(crit: object) -> None:
    header = json.dumps({"alg": "HS256", "crit": crit, "exp": 1, "b64": True})
    detail = refusal(signed(json.dumps(GOOD), header))
    assert "crit" in detail or "must be a JWT" in detail


def test_a_payload_outside_the_token_is_refused() -> None:
    header = json.dumps({"alg": "HS256", "b64": False, "crit": ["b64"]})
    refusal(signed("", header))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
@pytest.mark.parametrize("signature", ["", b64(b"x" * 32)])
def test_no_algorithm_is_no_token(algorithm: str, signature: str) -> None:
    header = b64(json.dumps({"alg": algorithm}).encode())
    detail = refusal(f"{header}.{b64(json.dumps(GOOD).encode())}.{signature}")
    assert "alg" in detail
    assert "must be HS256" in detail


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256"])
def test_another_algorithm_is_refused(algorithm: str) -> None:
    detail = refusal(signed(json.dumps(GOOD), json.dumps({"alg": algorithm})))
    assert algorithm in detail


def test_the_algorithms_of_all_keys_are_named() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    both = verifier(Key("HS256", SECRET), Key("EdDSA", public))
    with pytest.raises(Unauthorized, match="alg must be EdDSA or HS256, not 'none'"):
        both.verify(signed("{}", '{"alg":"none"}'))


@pytest.mark.parametrize("header", ["{}", '{"alg":null}', '{"alg":["HS256"]}', '{"alg":{"a":1}}'])
def test_an_algorithm_that_is_no_name_is_refused(header: str) -> None:
    assert "alg" in refusal(signed(json.dumps(GOOD), header))


def test_what_a_refusal_repeats_is_bounded() -> None:
    assert len(refusal(signed("{}", json.dumps({"alg": "x" * 5000})))) < 200


def test_without_a_signature() -> None:
    assert "signature" in refusal(token().rsplit(".", 1)[0] + ".")


def test_with_another_key() -> None:
    assert "signature" in refusal(signed(json.dumps(GOOD), key=OTHER))


def test_with_another_payload() -> None:
    head, _, signature = token().split(".")
    forged = b64(json.dumps({**GOOD, "id": "bob"}).encode())
    assert "signature" in refusal(f"{head}.{forged}.{signature}")


def test_an_hmac_over_the_public_key_is_refused() -> None:
    """Key confusion: the attacker knows the PEM, and signs with it as if it were a secret."""
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for confused in (pem, pem.strip(), der):
        for keys in ((Key("RS256", public),), (Key("RS256", public), Key("HS256", SECRET))):
            with pytest.raises(Unauthorized):
                verifier(*keys).verify(signed(json.dumps(GOOD), key=confused))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_keys_verify_their_own_algorithm(algorithm: str) -> None:
    private: Any = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[algorithm]()
    made = jwt.encode(GOOD, private, algorithm=algorithm)
    assert verifier(Key(algorithm, private.public_key())).verify(made).user == "alice"
    with pytest.raises(Unauthorized, match="alg must be"):
        verifier().verify(made)


def test_while_keys_are_rotated_old_and_new_are_good() -> None:
    both = verifier(Key("HS256", OTHER), Key("HS256", SECRET))
    assert both.verify(signed(json.dumps(GOOD), key=SECRET)).user == "alice"
    assert both.verify(signed(json.dumps(GOOD), key=OTHER)).user == "alice"
    with pytest.raises(Unauthorized, match="signature"):
        both.verify(signed(json.dumps(GOOD), key=OTHER[::-1] + SECRET))


def test_no_keys_refuse_everything() -> None:
    with pytest.raises(Unauthorized, match="none is configured"):
        TokenVerifier(()).verify(token())
