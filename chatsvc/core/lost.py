"""The part of a page that reports messages which were acknowledged and are lost."""

from __future__ import annotations

import msgspec

from chatsvc.core.ids import format_id


class LostRange(msgspec.Struct, kw_only=True):
    """Message ids above ``from``, up to and with ``to``: some of them are lost.

    A database was put back that is older than what the log still held, so neither has them.
    """

    from_: str = msgspec.field(name="from")
    to: str

    @classmethod
    def of(cls, found: tuple[int, int] | None) -> LostRange | msgspec.UnsetType:
        """The member of a page; absent where nothing is lost."""
        if found is None:
            return msgspec.UNSET
        return cls(from_=format_id(found[0]), to=format_id(found[1]))
