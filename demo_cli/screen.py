"""Where text goes: coloured by rich on a terminal that has colours, plain elsewhere.

Colours are put on as spans, never as markup within the text, so brackets in a message
are brackets.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from typing import TextIO

from chatsvc.client import Conversation, Message
from demo_cli.rendering import (
    channel_line,
    clock,
    message_line,
    visible,
    visible_lines,
)

Span = tuple[str, str]
"""Text, already visible, and its style (``""`` for none)."""


class Screen:
    """Prints whole blocks, each in one write.

    Args:
        stream: standard output when it is printed to, unless another is given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def message(self, message: Message) -> None:
        """A message that has just come: its conversation above it."""
        self._print(
            [(channel_line(message.participants), "cyan"), ("\n", ""), *self._spoken(message)]
        )

    def history(self, participants: Iterable[str], messages: Iterable[Message]) -> None:
        """A page of a conversation."""
        spans: list[Span] = [(channel_line(participants), "cyan")]
        for message in messages:
            spans.append((f"\n{clock(message.created_at)}  ", "dim"))
            spans += self._spoken(message)
        self._print(spans)

    def conversation(self, conversation: Conversation) -> None:
        """A conversation and its last message."""
        spans: list[Span] = [(channel_line(conversation.participants), "cyan")]
        last = conversation.last_message
        if last is not None:
            spans += [(f"\n{clock(last.created_at)}  ", "dim"), *self._spoken(last)]
        self._print(spans)

    def note(self, text: str) -> None:
        """Something this program says; what it quotes need not be visible yet."""
        self._print([(visible_lines(text), "green")])

    def warn(self, text: str) -> None:
        """The same of something that went wrong."""
        self._print([(visible_lines(text), "yellow")])

    def plain(self, text: str) -> None:
        """Text of this program's own, as it is."""
        self._print([(text, "")])

    @staticmethod
    def _spoken(message: Message) -> list[Span]:
        name = visible(message.sender)
        return [(name, "bold"), (message_line(message)[len(name) :], "")]

    def _print(self, spans: list[Span]) -> None:
        stream = self._stream or sys.stdout
        if stream.isatty() and importlib.util.find_spec("rich") is not None:
            from rich.console import Console
            from rich.text import Text

            text = Text.assemble(*spans)
            Console(file=stream, highlight=False, emoji=False).print(text, soft_wrap=True)
        else:
            stream.write("".join(text for text, _ in spans) + "\n")
            stream.flush()
