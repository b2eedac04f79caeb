"""The records of groups: what their frames and rows say."""

from __future__ import annotations

import msgspec

from chatsvc.core.membership import THIS_RECORD, Member
from chatsvc.core.record import accept
from chatsvc.features.groups.records import (
    GroupChange,
    GroupFrame,
    MembershipChange,
    MembershipFrame,
    draft_group,
    draft_membership,
    new_member,
)
from chatsvc.features.groups.settings import GroupSettings, HistoryPolicy, settings_of

CHANNEL = ",g:" + "0" * 32
CLUB = GroupSettings(name="Club", admins=("a",))
AT = 1 << 40


def test_the_row_of_a_new_member_shows_everything_or_what_follows() -> None:
    assert new_member("a", "admin", HistoryPolicy.ALL) == Member("a", THIS_RECORD, 0, "admin", 1)
    newcomer = new_member("a", "member", HistoryPolicy.FROM_JOIN).at(AT)
    assert (newcomer.joined, newcomer.visible_from) == (AT, AT)


def test_a_creation_names_its_members_and_a_change_nobody() -> None:
    rows = [new_member(user, "member", HistoryPolicy.ALL) for user in "ab"]
    created = draft_group(
        GroupChange.CREATED,
        channel=CHANNEL,
        sender="a",
        settings=CLUB,
        members=rows,
        client_id="k",
    )
    assert (created.audience, created.key) == ((), ("a", CHANNEL, "k"))
    record = accept(created, AT)
    frame = msgspec.json.decode(record.body, type=GroupFrame)
    assert (frame.change, frame.users, frame.name, frame.join) == (
        "created",
        ["a", "b"],
        "Club",
        "invite",
    )
    changed = draft_group(GroupChange.UPDATED, channel=CHANNEL, sender="a", settings=CLUB)
    assert msgspec.json.decode(accept(changed, AT).body, type=GroupFrame).users == []


def test_the_end_of_a_group_is_the_id_of_its_record() -> None:
    draft = draft_group(
        GroupChange.DELETED, channel=CHANNEL, sender="a", settings=CLUB, dissolved=True
    )
    state = accept(draft, AT).state
    assert state is not None
    assert state.channel is not None
    assert (state.channel.dissolved, state.members) == (AT, ())


def membership(settings: GroupSettings | None, *, dissolved: bool = False) -> MembershipFrame:
    draft = draft_membership(
        MembershipChange.LEFT,
        channel=CHANNEL,
        sender="b",
        users=["b"],
        members=[Member("b", 5, THIS_RECORD)],
        audience=("a", "b"),
        settings=settings,
        promoted="a" if settings else "",
        dissolved=dissolved,
    )
    record = accept(draft, AT)
    state = record.state
    assert state is not None
    assert state.members == (Member("b", 5, AT),)
    if settings is None:
        assert state.channel is None
    else:
        assert state.channel is not None
        assert settings_of(state.channel) == settings
        assert state.channel.dissolved == (AT if dissolved else 0)
    assert record.audience == ("a", "b")
    body = msgspec.json.decode(record.body)
    return msgspec.convert({"member_count": 0} | body, MembershipFrame)  # the log puts it there


def test_a_change_of_memberships_has_settings_where_leaders_change() -> None:
    assert (membership(None).promoted, membership(None).role) == ("", "")
    assert membership(CLUB).promoted == "a"
    membership(CLUB, dissolved=True)
