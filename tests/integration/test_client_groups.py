"""The Python client and groups, with a whole service and both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatsvc.client import (
    ApiError,
    CaughtUp,
    ChangeReceived,
    ChatApi,
    ChatClient,
    GroupMember,
    MessageReceived,
    SendRefused,
)
from testkit.process import running
from testkit.talking import SETTINGS, SOON, token, url_of

KINDS = ["message", "group", "membership"]
Client = Callable[..., ChatClient]


@pytest.fixture
def url(tmp_path: Path, store_settings: dict[str, str]) -> Iterator[str]:
    with running(tmp_path, "serve", **{**SETTINGS, **store_settings}) as process:
        yield url_of(process)


@pytest.fixture
def client(url: str) -> Client:
    return lambda user, **more: ChatClient(url, token(user), **{"kinds": KINDS} | more)


async def story(client: ChatClient, last: str | type) -> list[str]:
    """Contents of messages and what changed, up to one of them or an event of a type."""
    found: list[str] = []
    async with asyncio.timeout(SOON):
        async for event in client:
            if isinstance(event, MessageReceived):
                found.append(event.content)
            elif isinstance(event, ChangeReceived):
                found.append(event.fields["change"])
            if found[-1:] == [last] or (isinstance(last, type) and isinstance(event, last)):
                break
    return found


async def test_a_group_is_created_filled_changed_left_and_deleted(client: Client) -> None:
    async with client("alice") as alice, client("bob") as bob:
        made = await alice.groups.create("Readers", ["bob"], avatar="book", history="from_join")
        assert (made.name, made.avatar, made.history, made.join) == (
            "Readers", "book", "from_join", "invite",
        )  # fmt: skip
        assert (made.member_count, made.role, made.channel) == (2, "admin", f",g:{made.id}")
        seen_by_bob = await bob.groups.get(made.id)
        assert (seen_by_bob.rev, seen_by_bob.role) == (made.rev, "member")
        assert (await alice.groups.put(made.id, "carol", "moderator")).role == "moderator"
        assert (await alice.groups.put(made.id, "carol")).role == "moderator"
        changed = await alice.groups.update(made.id, name="Writers", join="open")
        assert (changed.name, changed.join, changed.avatar) == ("Writers", "open", "book")
        assert (await bob.groups.page()).groups[0].name == "Writers"
        with pytest.raises(ApiError, match="not_an_admin"):
            await bob.groups.delete(made.id)
        left = await bob.groups.leave(made.id)
        assert await bob.groups.leave(made.id) == left
        assert await bob.groups.page() == ([], None)
        with pytest.raises(ApiError, match="not_a_member"):
            await bob.groups.get(made.id)
        await bob.groups.put(made.id, "bob")  # it is open
        deleted = await alice.groups.delete(made.id)
        assert await alice.groups.delete(made.id) == deleted
        assert await alice.groups.page() == ([], None)


async def test_pages_of_groups_and_members(url: str) -> None:
    async with ChatApi(url, token("alice")) as api:
        made = {(await api.groups.create(f"Club {number}")).id for number in range(3)}
        first = await api.groups.page(limit=2)
        rest = await api.groups.page(limit=2, after=first.after)
        assert [one.id for one in (*first.groups, *rest.groups)] == sorted(made)
        assert rest.after is None
        group = await api.groups.create("Readers", ["a/b", "..", "ä b"])
        await api.groups.put(group.id, "%2e", "moderator")
        found: list[GroupMember] = []
        after = None
        while True:
            page = await api.groups.members(group.id, limit=2, after=after)
            found += page.members
            after = page.after
            if after is None:
                break
        assert {one.user: one.role for one in found} == {
            "alice": "admin", "a/b": "member", "..": "member", "ä b": "member", "%2e": "moderator",
        }  # fmt: skip
        for user in ("a/b", "..", "ä b", "%2e"):
            assert await api.groups.remove(group.id, user) is not None
        members = (await api.groups.members(group.id)).members
        assert [one.user for one in members] == ["alice"]


async def test_groups_are_joined_by_links(client: Client) -> None:
    async with client("alice") as alice, client("bob") as bob, client("carol") as carol:
        group = await alice.groups.create("Readers")
        once = await alice.groups.create_link(group.id, expires_in=3600, max_uses=1)
        ever = await alice.groups.create_link(group.id)
        assert (once.created_by, once.uses_left, ever.expires_at) == ("alice", 1, None)
        assert once.expires_at is not None
        assert await alice.groups.links(group.id) == [once, ever]
        joined = await bob.groups.join(once.code)
        assert (joined.id, joined.role, joined.member_count) == (group.id, "member", 2)
        assert await bob.groups.join(once.code) == joined, "the link is used up, and bob is in"
        with pytest.raises(ApiError, match="no_such_link"):
            await carol.groups.join(once.code)
        with pytest.raises(ApiError, match="not_a_moderator"):
            await bob.groups.links(group.id)
        assert await alice.groups.links(group.id) == [ever]
        await alice.groups.revoke_link(group.id, ever.code)
        await alice.groups.revoke_link(group.id, ever.code)
        with pytest.raises(ApiError, match="no_such_link"):
            await carol.groups.join(ever.code)
        assert await alice.groups.links(group.id) == []
        assert await story(alice, "joined") == ["created", "links", "links", "joined"]


async def test_who_is_invited_accepts_or_declines(client: Client) -> None:
    async with client("alice") as alice, client("bob") as bob:
        group = await alice.groups.create("Readers")
        for _ in range(2):
            await alice.groups.invite(group.id, "bob")
        (found,) = await bob.groups.invitations()
        assert (found.id, found.channel, found.name) == (group.id, group.channel, "Readers")
        await bob.groups.end_invitation(group.id, "bob")
        with pytest.raises(ApiError, match="not_a_member"):
            await bob.groups.put(group.id, "bob")
        await alice.groups.invite(group.id, "bob")
        assert (await bob.groups.put(group.id, "bob")).role == "member"
        assert await bob.groups.invitations() == []


async def test_who_is_banned_comes_in_again_when_the_ban_is_over(client: Client) -> None:
    async with client("alice") as alice, client("bob") as bob:
        group = await alice.groups.create("Readers", ["bob"], join="open")
        await bob.wait_connected()
        assert (await alice.groups.ban(group.id, "bob", expires_in=3600)).expires_at is not None
        ban = await alice.groups.ban(group.id, "bob")
        assert (ban.user, ban.expires_at) == ("bob", None)
        assert await alice.groups.ban(group.id, "bob") == ban
        with pytest.raises(ApiError, match="banned"):
            await bob.groups.put(group.id, "bob")
        link = await alice.groups.create_link(group.id)
        with pytest.raises(ApiError, match="banned"):
            await bob.groups.join(link.code)
        with pytest.raises(ApiError, match="not_a_member"):
            await bob.groups.unban(group.id, "bob")
        await alice.groups.unban(group.id, "bob")
        await alice.groups.unban(group.id, "bob")
        assert (await bob.groups.put(group.id, "bob")).role == "member"
        expected = ["created", "banned", "banned", "links", "unbanned", "joined"]
        assert await story(alice, "joined") == expected


async def test_a_repeated_creation_is_one_group(url: str) -> None:
    async with ChatApi(url, token("alice")) as api:
        first = await api.groups.create("Readers", ["bob"], client_id="mine")
        assert await api.groups.create("Readers", ["bob"], client_id="mine") == first
        with pytest.raises(ApiError, match="client_id_conflict"):
            await api.groups.create("Writers", client_id="mine")
        assert len((await api.groups.page()).groups) == 1


async def test_messages_and_changes_come_in_one_order_live_and_by_a_resume(client: Client) -> None:
    expected = ["created", "hello", "added", "updated", "hi", "role", "removed"]
    async with client("alice") as alice, client("bob") as bob:
        since = (await bob.wait_connected()).cursor
        await alice.wait_connected()
        group = await alice.groups.create("Readers", ["bob"])
        await alice.send(channel=group.channel, content="hello")
        await alice.groups.put(group.id, "carol")
        await alice.groups.update(group.id, name="Writers")
        await alice.post(channel=group.channel, content="hi")
        await alice.groups.put(group.id, "bob", "moderator")
        await alice.groups.remove(group.id, "bob")
        await alice.send(channel=group.channel, content="not for bob")
        await alice.send(["alice", "bob"], "end")
        assert await story(bob, "end") == [*expected, "end"]
        own = [one for one in expected if one not in ("hello", "hi")]
        assert await story(alice, "removed") == own, "changes also where the user caused them"
        page = await bob.history(channel=group.channel)
        assert [one.content for one in page.messages] == ["hello", "hi"]
    async with client("bob", since=since) as again:
        assert await story(again, CaughtUp) == [*expected, "end"]
    async with client("bob", since=since, kinds=["message"]) as plain:
        assert await story(plain, CaughtUp) == ["hello", "hi", "end"]


async def test_who_is_removed_is_refused_and_the_other_sends_go_on(client: Client) -> None:
    async with client("alice") as alice, client("bob") as bob, asyncio.timeout(SOON):
        first = await alice.groups.create("Readers", ["bob"])
        other = await alice.groups.create("Writers", ["bob"])
        await alice.groups.remove(other.id, "bob")
        sends = [
            bob.send(channel=channel, content=str(number))
            for number, channel in enumerate([first.channel, other.channel] * 10)
        ]
        results = await asyncio.gather(*sends, return_exceptions=True)
        refused = [one for one in results if isinstance(one, SendRefused)]
        assert results[1::2] == refused
        assert {one.code for one in refused} == {"not_a_member"}
        with pytest.raises(ApiError) as caught:
            await bob.post(channel=other.channel, content="x")
        assert (caught.value.code, caught.value.final) == ("not_a_member", True)
        page = await alice.history(channel=first.channel)
        assert [one.content for one in page.messages] == [str(n) for n in range(0, 20, 2)]
        assert bob.unsent == 0
