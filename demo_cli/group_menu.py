"""The entries of the menu about groups, and the lines about their changes."""

from __future__ import annotations

import asyncio
from typing import Final

from chatsvc.client import ChangeReceived, ChatApi, Group
from demo_cli.asking import ask_users
from demo_cli.changes import change_line, named_users, new_name
from demo_cli.places import Place, Places, place_in
from demo_cli.prompting import Lines
from demo_cli.rendering import visible
from demo_cli.screen import Screen

ENTRIES: Final = """\
8. Choose a conversation
9. Create a group
10. Add to a group
11. Remove from a group
12. Leave a group
13. Rename a group
14. Join a group by its code
15. Make an invite link"""
LISTED: Final = 20
_ENDINGS: Final = ("left", "removed", "banned", "unbanned")
"""Changes after which the users that they name are no members."""


class GroupMenu:
    """What one user at one terminal does with groups.

    Args:
        api: of the user.
        me: the user id.
        places: where one talks.
        lines: where what is typed comes from.
        screen: where things are shown.
    """

    def __init__(
        self, api: ChatApi, me: str, *, places: Places, lines: Lines, screen: Screen
    ) -> None:
        self._api = api
        self._me = me
        self._places = places
        self._lines = lines
        self._screen = screen
        # What was done here is said once: its record may come before the answer to the request.
        self._calling = asyncio.Lock()
        self._own: set[str] = set()

    async def show(self, change: ChangeReceived) -> None:
        """Print a change of a group, unless it was made here."""
        places, channel = self._places, change.channel
        what, renamed = change.fields.get("change"), new_name(change)
        name = None if what == "created" else await places.name_of(channel)
        if renamed is not None:
            places.learn(channel, renamed)
        if what == "deleted" or (what in _ENDINGS and self._me in named_users(change)):
            places.leave(channel)
        else:
            places.received = Place(channel=channel)
        if change.sender == self._me:
            if what == "links":
                return  # the answer to the request names no record to know it by
            async with self._calling:
                if change.id in self._own:
                    return
        self._screen.note(change_line(change, name))

    async def choose(self) -> None:
        """List groups and conversations; Enter is for the chosen one from now on."""
        places = [Place(channel=group.channel) for group in await self._places.groups()]
        page = await self._api.conversations(limit=LISTED)
        found = [place_in(conversation) for conversation in page.conversations]
        places += [one for one in found if one is not None and one.channel is None]
        if not places:
            self._screen.note("There are none yet.")
            return
        labels = [visible(await self._places.label(place)) for place in places]
        self._screen.plain("\n".join(f"{n}. {label}" for n, label in enumerate(labels, 1)))
        typed = (await self._lines.ask("Conversation: ")).strip().rstrip(".")
        number = int(typed) if typed.isascii() and typed.isdigit() else 0
        if not 1 <= number <= len(places):
            self._screen.note("Left as it was.")
            return
        self._places.chosen = places[number - 1]
        self._screen.note(f"Chosen: {labels[number - 1]}. Press Enter for it in 2 and 3.")

    async def create(self) -> None:
        """Create a group, and talk in it."""
        name = (await self._lines.ask("Name: ")).strip()
        if not name:
            self._screen.note("Name the group.")
            return
        users = await ask_users(self._lines, "Users: ")
        async with self._calling:
            group = await self._api.groups.create(name, users)
            self._own.add(group.rev)
        self._places.enter(group)
        self._screen.note("Created.")

    async def add(self) -> None:
        """Add users to a group."""
        group = await self._ask_group()
        if group is None:
            return
        users = await ask_users(self._lines, "Users: ")
        for user in users:
            async with self._calling:
                member = await self._api.groups.put(group.id, user)
                self._own.add(member.joined)
        self._screen.note("Added." if users else "Name at least one user.")

    async def remove(self) -> None:
        """Remove users from a group."""
        group = await self._ask_group()
        if group is None:
            return
        users = await ask_users(self._lines, "Users: ")
        for user in users:
            await self._end(group, user)
        self._screen.note("Removed." if users else "Name at least one user.")

    async def leave(self) -> None:
        """Leave a group."""
        group = await self._ask_group()
        if group is not None:
            await self._end(group, self._me)
            self._screen.note(f"You left {visible(group.name)}.")

    async def rename(self) -> None:
        """Give a group another name."""
        group = await self._ask_group()
        if group is None:
            return
        name = (await self._lines.ask("New name: ")).strip()
        if not name:
            self._screen.note("Left as it was.")
            return
        async with self._calling:
            group = await self._api.groups.update(group.id, name=name)
            self._own.add(group.rev)
        self._places.enter(group)
        self._screen.note("Renamed.")

    async def join(self) -> None:
        """Join a group by the code of an invite link, and talk in it."""
        code = (await self._lines.ask("Code: ")).strip()
        if not code:
            self._screen.note("Left as it was.")
            return
        async with self._calling:
            group = await self._api.groups.join(code)
            self._own.add(group.rev)
        self._places.enter(group)
        self._screen.note(f"You are in {visible(group.name)}.")

    async def make_link(self) -> None:
        """Create an invite link without an end, and print its code."""
        group = await self._ask_group()
        if group is not None:
            link = await self._api.groups.create_link(group.id)
            self._screen.note(f"Whoever has this code may join: {link.code}")

    async def _end(self, group: Group, user: str) -> None:
        async with self._calling:
            record = await self._api.groups.remove(group.id, user)
            if record is not None:
                self._own.add(record)
        if user == self._me:
            self._places.leave(group.channel)

    async def _ask_group(self) -> Group | None:
        """Ask for a group of the user's by its name; Enter is for the last one."""
        groups = await self._places.groups()
        if not groups:
            self._screen.note("You are in no group; 9 creates one.")
            return None
        channel = self._places.last_group or (groups[0].channel if len(groups) == 1 else None)
        last = [group for group in groups if group.channel == channel]
        prompt = f"Group ({visible(last[0].name)}): " if last else "Group: "
        name = (await self._lines.ask(prompt)).strip()
        if not name:
            found = last
        else:
            found = [one for one in groups if one.name == name] or [
                one for one in groups if one.name.casefold() == name.casefold()
            ]
        if len(found) == 1:
            return found[0]
        if found:
            self._screen.note("Several groups have that name: 8 chooses one of them.")
        else:
            known = ", ".join(sorted(visible(group.name) for group in groups))
            self._screen.note(f"Name one of your groups: {known}.")
        return None
