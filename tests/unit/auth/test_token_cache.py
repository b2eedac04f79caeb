"""Which verified tokens are remembered, and for how long."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from chatsvc.auth.keys import Key
from chatsvc.auth.tokens import MAX_TOKEN_BYTES, TokenVerifier
from chatsvc.core.errors import TokenExpired, Unauthorized
from tests.unit.support.tokens import GOOD, NOW, OTHER, SECRET, Clock, signed, token, verifier


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
