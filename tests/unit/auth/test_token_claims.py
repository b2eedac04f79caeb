"""The claims of a token: times, audience and issuer, the user."""

from __future__ import annotations

from typing import Any

import pytest

from chatsvc.auth.tokens import TokenVerifier
from chatsvc.core.errors import TokenExpired
from chatsvc.settings.table import load
from tests.unit.support.tokens import NOW, refusal, signed, token, verifier


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
