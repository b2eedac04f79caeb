"""Printing: coloured by rich on a terminal that has colours, plain elsewhere.

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
    conversation_line,
    local_time,
    message_line,
    visible,
    visible_lines,
)

Span = tuple[str, str]
"""Text, escaped already, and its style (``""`` for none)."""


class Screen:
    """Prints whole blocks, each in one write.

    Args:
        stream: standard output when it is printed to, unless another is given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def message(self, message: Message, group: str | None = None) -> None:
        """Print a message that was received, its conversation or group above it."""
        self._print(
            [
                (conversation_line(message.channel, message.participants, group), "cyan"),
                ("\n", ""),
                *self._sender_and_content(message),
            ]
        )

    def history(
        self, participants: Iterable[str], messages: Iterable[Message], group: str | None = None
    ) -> None:
        """Print a page of a conversation, or of a group."""
        spans: list[Span] = [(conversation_line("", participants, group), "cyan")]
        for message in messages:
            spans.append((f"\n{local_time(message.created_at)}  ", "dim"))
            spans += self._sender_and_content(message)
        self._print(spans)

    def conversation(self, conversation: Conversation, group: str | None = None) -> None:
        """Print a conversation, or a group, and its last message."""
        line = conversation_line(conversation.channel, conversation.participants, group)
        spans: list[Span] = [(line, "cyan")]
        last = conversation.last_message
        if last is not None:
            spans += [
                (f"\n{local_time(last.created_at)}  ", "dim"),
                *self._sender_and_content(last),
            ]
        self._print(spans)

    def note(self, text: str) -> None:
        """Print a note of this program; what it quotes is escaped here."""
        self._print([(visible_lines(text), "green")])

    def warn(self, text: str) -> None:
        """Print a note of something that went wrong."""
        self._print([(visible_lines(text), "yellow")])

    def plain(self, text: str) -> None:
        """Print text of this program's own, as it is."""
        self._print([(text, "")])

    @staticmethod
    def _sender_and_content(message: Message) -> list[Span]:
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
