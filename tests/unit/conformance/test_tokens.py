"""Users and their tokens."""

from __future__ import annotations

import jwt
import pytest

from chatsvc_conformance.expect import Skipped
from chatsvc_conformance.tokens import GivenUsers, SignedUsers, User, fresh_name, sign

SECRET = b"0123456789abcdef0123456789abcdef"


async def test_signed_users_are_fresh_and_their_tokens_verify() -> None:
    users = await SignedUsers(SECRET, claim="uid").take(3)
    assert len({user.id for user in users}) == 3
    for user in users:
        claims = jwt.decode(user.token, SECRET, algorithms=["HS256"])
        assert claims["uid"] == user.id
        assert "id" not in claims


def test_an_unsigned_token_is_one() -> None:
    token = sign({"id": "x"}, b"", "none")
    assert jwt.get_unverified_header(token)["alg"] == "none"
    assert token.endswith(".")


async def test_given_users_are_no_more_than_were_given() -> None:
    given = GivenUsers([User("a", "1"), User("b", "2")])
    assert [user.id for user in await given.take(2)] == ["a", "b"]
    with pytest.raises(Skipped, match="3 users, has 2"):
        await given.take(3)
    with pytest.raises(Skipped, match="--secret"):
        given.sign({})


def test_fresh_names_differ() -> None:
    assert len({fresh_name() for _ in range(1000)}) == 1000
