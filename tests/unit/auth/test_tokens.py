"""Every way in which a token can be wrong is refused by name; a good one is remembered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chatsvc.auth.keys import Key
from chatsvc.auth.principal import Principal
from chatsvc.auth.tokens import MAX_TOKEN_BYTES, TokenVerifier
from chatsvc.core.errors import TokenExpired, Unauthorized
from chatsvc.settings.table import load

NOW = 1_800_000_000
SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
GOOD: dict[str, Any] = {"id": "alice", "exp": NOW + 3600}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def verifier(*keys: Key, **settings: Any) -> TokenVerifier:
    settings.setdefault("clock", Clock())
    return TokenVerifier(keys or (Key("HS256", SECRET),), **settings)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    payload: bytes | str, header: bytes | str = '{"alg":"HS256"}', key: bytes = SECRET
) -> str:
    """A token of any bytes at all, with a signature that holds."""
    parts = [b64(part if isinstance(part, bytes) else part.encode()) for part in (header, payload)]
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, b64(signature)])


def token(**claims: Any) -> str:
    """The good claims, changed; a claim of ``None`` is left out."""
    merged = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return signed(json.dumps(merged))


def refusal(text: str, **settings: Any) -> str:
    with pytest.raises(Unauthorized) as caught:
        verifier(**settings).verify(text)
    assert not isinstance(caught.value, TokenExpired)
    assert caught.value.code == "token_invalid"
    return caught.value.detail


def test_a_good_token_says_who_and_until_when() -> None:
    assert verifier().verify(token()) == Principal("alice", NOW + 3600)


def test_a_token_of_a_well_known_library_is_good() -> None:
    made = jwt.encode({**GOOD, "iat": NOW, "nbf": NOW}, SECRET, headers={"kid": "1"})
    assert verifier().verify(made).user == "alice"


# Form


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


# Signature and algorithm


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


# Times


def test_without_exp() -> None:
    assert "must have an exp claim" in refusal(token(exp=None))


@pytest.mark.parametrize("value", ["soon", str(NOW + 60), True, [NOW], {"at": NOW}])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_that_is_no_number(claim: str, value: object) -> None:
    assert f"{claim} must be a number" in refusal(token(**{claim: value}))


def test_an_exp_of_null_is_no_number() -> None:
    assert "exp must be a number" in refusal(signed('{"id":"alice","exp":null}'))


@pytest.mark.parametrize("value", [NOW * 1000, 10**40, 1e300, -1])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_beyond_sense(claim: str, value: float) -> None:
    assert f"{claim} must be a time" in refusal(token(**{claim: value}))


def test_a_time_with_a_fraction_is_good() -> None:
    assert verifier().verify(token(exp=NOW + 60.75)).expires_at == NOW + 60


@pytest.mark.parametrize(("age", "good"), [(-1, True), (9, True), (10, False), (3600, False)])
def test_exp_with_leeway(age: int, good: bool) -> None:
    made = token(exp=NOW - age)
    if good:
        assert verifier(leeway=10).verify(made).user == "alice"
        return
    with pytest.raises(TokenExpired, match=f"exp passed {age} seconds") as caught:
        verifier(leeway=10).verify(made)
    assert caught.value.code == "token_expired"


def test_without_settings_it_is_as_by_their_defaults() -> None:
    bare, defaults = TokenVerifier(()), load({})
    assert bare._leeway == defaults.jwt_leeway_seconds
    assert bare._cache_size == defaults.token_cache_size


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_not_before_and_issued_at_with_leeway(claim: str) -> None:
    assert verifier(leeway=10).verify(token(**{claim: NOW + 10})).user == "alice"
    assert f"{claim} must not be in the future: it is 11 seconds ahead" in refusal(
        token(**{claim: NOW + 11}), leeway=10
    )


# Audience and issuer


def test_aud_and_iss_are_not_looked_at_unless_configured() -> None:
    assert verifier().verify(token(aud="elsewhere", iss="anyone")).user == "alice"


@pytest.mark.parametrize("aud", ["chat", ["chat"], ["other", "chat"], ["two"], [7, "two"]])
def test_an_audience_that_is_meant(aud: object) -> None:
    assert verifier(audience=("chat", "two")).verify(token(aud=aud)).user == "alice"


@pytest.mark.parametrize("aud", [None, "other", [], ["other"], 7, {"chat": 1}, "cha", [["chat"]]])
def test_an_audience_that_is_not(aud: object) -> None:
    assert "aud" in refusal(token(aud=aud), audience=("chat",))


@pytest.mark.parametrize("iss", [None, "other", ["login"], 7])
def test_an_issuer_that_is_not_trusted(iss: object) -> None:
    assert "iss" in refusal(token(iss=iss), issuer=("login",))


def test_an_issuer_that_is_trusted() -> None:
    assert verifier(issuer=("old", "login")).verify(token(iss="login")).user == "alice"


# The user


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"id": "alice"}, "alice"),
        ({"id": None, "sub": "bob"}, "bob"),
        ({"id": "alice", "sub": "alice"}, "alice"),
    ],
)
def test_id_or_sub_is_the_user(claims: dict[str, Any], user: str) -> None:
    assert verifier().verify(token(**claims)).user == user


def test_id_and_sub_that_differ() -> None:
    detail = refusal(token(sub="bob"))
    assert "id and sub must be equal" in detail
    assert "JWT_USER_CLAIM" in detail


def test_neither_id_nor_sub() -> None:
    assert "must have the claim id or sub" in refusal(token(id=None))


def test_the_configured_claim_alone_counts() -> None:
    made = token(sub="bob", email="carol@example.org")
    assert verifier(user_claim="email").verify(made).user == "carol@example.org"
    assert verifier(user_claim="sub").verify(made).user == "bob"
    assert "must have the claim login" in refusal(made, user_claim="login")


@pytest.mark.parametrize("value", [7, True, ["alice"], {"name": "alice"}, 1.5])
def test_a_user_that_is_no_string(value: object) -> None:
    assert "id must be a string" in refusal(token(id=value))


def test_an_id_of_null_is_no_string() -> None:
    assert "id must be a string" in refusal(signed(f'{{"id":null,"exp":{NOW + 60}}}'))


@pytest.mark.parametrize(
    "user", ["", "a,b", " alice", "alice\n", "a\x00b", "e\u0301", "x" * 129, ",g:1"]
)
def test_a_user_that_is_no_user_id(user: str) -> None:
    assert "id must be a user id" in refusal(token(id=user))


def test_the_bound_on_user_ids_is_the_configured_one() -> None:
    assert "at most 4 characters" in refusal(token(), max_user_id=4)


# What is remembered


class CountingVerifier(TokenVerifier):
    """Counts the tokens whose signature was looked at."""

    def __init__(self, clock: Clock, **settings: Any) -> None:
        super().__init__((Key("HS256", SECRET),), clock=clock, **settings)
        self.looked = 0

    def _claims(self, token: str) -> dict[str, Any]:
        self.looked += 1
        return super()._claims(token)


def test_a_token_is_verified_once_and_again_when_the_time_is_over() -> None:
    clock = Clock()
    counting = CountingVerifier(clock, cache_seconds=30)
    made = token()
    first = counting.verify(made)
    clock.now += 29.9
    assert counting.verify(made) is first
    assert counting.looked == 1
    clock.now += 0.1
    counting.verify(made)
    assert counting.looked == 2
    assert counting.cached == 1


def test_no_more_than_sixty_seconds_whatever_is_asked() -> None:
    clock = Clock()
    counting = CountingVerifier(clock, cache_seconds=3600)
    made = token()
    counting.verify(made)
    clock.now += 60
    counting.verify(made)
    assert counting.looked == 2


def test_never_past_exp_and_the_leeway_does_not_prolong_it() -> None:
    clock = Clock()
    counting = CountingVerifier(clock, leeway=10)
    made = token(exp=NOW + 5)
    counting.verify(made)
    clock.now += 5
    counting.verify(made)
    counting.verify(made)
    assert (counting.looked, counting.cached) == (3, 0)
    clock.now += 10
    with pytest.raises(TokenExpired):
        counting.verify(made)


def test_a_clock_set_back_prolongs_nothing() -> None:
    clock = Clock()
    counting = CountingVerifier(clock)
    made = token()
    counting.verify(made)
    clock.now -= 3600
    counting.verify(made)
    assert counting.looked == 2


def test_nothing_is_remembered_for_zero_seconds() -> None:
    counting = CountingVerifier(Clock(), cache_seconds=0)
    counting.verify(token())
    assert counting.cached == 0


def test_the_oldest_goes_when_the_bound_is_reached() -> None:
    counting = CountingVerifier(Clock(), cache_size=3)
    tokens = [token(id=user) for user in ("a", "b", "c", "d")]
    for made in tokens:
        counting.verify(made)
    assert (counting.looked, counting.cached) == (4, 3)
    for made in tokens[1:]:
        counting.verify(made)
    assert counting.looked == 4
    assert counting.verify(tokens[0]).user == "a"
    assert (counting.looked, counting.cached) == (5, 3)


def test_expired_tokens_go_when_others_come() -> None:
    clock = Clock()
    counting = CountingVerifier(clock, cache_seconds=30)
    for number in range(1500):
        counting.verify(token(id=f"u{number}"))
    assert counting.cached == 1500
    clock.now += 30
    counting.verify(token(id="late"))
    assert counting.cached == 501, "some at a time"
    counting.verify(token(id="later"))
    assert counting.cached == 2
    clock.now += 29
    counting.verify(token(id="latest"))
    assert counting.cached == 3, "what is good stays"


def test_a_load_of_ever_new_tokens_keeps_no_more_than_a_caches_seconds() -> None:
    clock = Clock()
    counting = CountingVerifier(clock, cache_seconds=10)
    for number in range(300):
        clock.now += 0.1
        counting.verify(token(id=f"u{number}"))
    assert counting.cached <= 101


def test_after_a_clock_was_set_back_the_cache_is_cleared_too() -> None:
    clock = Clock()
    counting = CountingVerifier(clock)
    for number in range(10):
        counting.verify(token(id=f"u{number}"))
    clock.now -= 3600
    counting.verify(token(id="late"))
    assert counting.cached == 1


def test_a_refused_token_is_not_remembered_and_pushes_none_out() -> None:
    counting = CountingVerifier(Clock(), cache_size=1)
    counting.verify(token())
    for _ in range(3):
        with pytest.raises(Unauthorized):
            counting.verify(signed(json.dumps(GOOD), key=OTHER))
    assert counting.cached == 1
    counting.verify(token())
    assert counting.looked == 4


def test_no_keys_refuse_everything() -> None:
    with pytest.raises(Unauthorized, match="none is configured"):
        TokenVerifier(()).verify(token())


async def test_a_token_is_known_once_it_was_verified_and_not_beyond_its_time() -> None:
    clock = Clock()
    verifies = verifier(clock=clock, cache_seconds=60.0)
    token = jwt.encode(GOOD, SECRET)
    assert verifies.known(token) is None
    principal = await verifies.authenticate(token)
    assert (principal.user, principal.roles, principal.scopes) == ("alice", {"user"}, frozenset())
    assert verifies.known(token) is principal
    clock.now += 61
    assert verifies.known(token) is None
    assert verifies.cached == 0


@pytest.mark.parametrize("token", ["", "ü", "a" * (MAX_TOKEN_BYTES + 1), "a.b.c"])
async def test_what_is_no_token_is_not_known_and_refused(token: str) -> None:
    verifies = verifier()
    assert verifies.known(token) is None
    with pytest.raises(Unauthorized):
        await verifies.authenticate(token)
