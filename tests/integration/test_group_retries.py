"""Creations of groups that are repeated or refused, as clients see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.process import running
from testkit.talking import SETTINGS, url_of
from tests.integration.support.group_calls import GroupCalls


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    settings = {**SETTINGS, "MAX_GROUPS_PER_USER": "2", "IDEMPOTENCY_KEYS_PER_SENDER": "1000"}
    with running(tmp_path, "serve", **settings) as process:
        yield url_of(process)


async def test_a_client_id_that_is_forgotten_is_the_same_group(url: str) -> None:
    alice = GroupCalls(url, "alice")
    group = (await alice.create(client_id="key"))["id"]
    for number in range(1200):  # more than are remembered of one sender
        await alice.say(group, "x", client_id=f"{number}")
    body = {"name": "Club", "members": [], "client_id": "key"}
    status, again = await alice.call("POST", "/api/groups", body)
    assert (status, again["id"]) == (200, group)


async def test_a_retry_may_name_the_members_in_another_order(url: str) -> None:
    alice = GroupCalls(url, "alice")
    made = await alice.create("bob", "carol", client_id="key")
    assert await alice.create("carol", "bob", client_id="key") == made


async def test_too_many_groups_names_the_field_of_the_request(url: str) -> None:
    alice, bob = GroupCalls(url, "alice"), GroupCalls(url, "bob")
    for _ in range(2):
        await alice.create()
    body = {"name": "Club", "members": ["carol", "alice"]}
    _, problem = await bob.call("POST", "/api/groups", body)
    assert [error["pointer"] for error in problem["errors"]] == ["/members/1"]
