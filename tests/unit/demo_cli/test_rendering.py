from __future__ import annotations

import dataclasses
import io
import time

import pytest

from chatsvc.client import Message
from demo_cli.rendering import channel_line, local_time, message_line, visible, visible_lines
from demo_cli.screen import Screen


def said(content: str, sender: str = "alice") -> Message:
    return Message(
        id="0" * 16,
        channel="alice,bob,charlie",
        sender=sender,
        content=content,
        created_at="2026-11-21T15:04:05.123Z",
        participants=("alice", "bob", "charlie"),
    )


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_message_looks_exactly_so() -> None:
    out = io.StringIO()
    Screen(out).message(said("Hello team!"))
    assert out.getvalue() == "[Channel: alice, bob, charlie]\nalice: Hello team!\n"


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("Readers", "[Group: Readers]"),
        ("Re]\n\u202eaders", "[Group: Re]\\x0a\\u202eaders]"),
        (None, "[Channel: ,g:6f]"),
    ],
)
def test_a_message_in_a_group_has_its_name_above_it(group: str | None, line: str) -> None:
    out = io.StringIO()
    one = dataclasses.replace(said("Hello team!"), channel=",g:6f", participants=())
    Screen(out).message(one, group)
    assert out.getvalue() == f"{line}\nalice: Hello team!\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ASCII, umlauts äöü, 漢字, 👩", None),
        ("bob\u200b", "bob\\u200b"),
        ("\u2060bob", "\\u2060bob"),
        ("bo\u00adb", "bo\\xadb"),
        ("bob\u200d", "bob\\u200d"),
        ("bob\U000e0041", "bob\\U000e0041"),
        ("[bold red]brackets[/]", None),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("title \x1b]0;gone\x07", "title \\x1b]0;gone\\x07"),
        ("8-bit \x9b31m", "8-bit \\x9b31m"),
        ("over\rwritten", "over\\x0dwritten"),
        ("back\x08\x7f", "back\\x08\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_left(text: str, shown: str | None) -> None:
    assert visible(text) == (text if shown is None else shown)


def test_content_keeps_what_joins_characters() -> None:
    family = "👩\u200d👩\u200d👧 and می\u200cخواهم"
    assert visible_lines(family) == family
    assert visible_lines("a\u200bb") == "a\\u200bb"


@pytest.mark.parametrize("between", ["\n", "\r\n", "\u2028", "\u2029"])
def test_further_lines_are_set_in_and_cannot_pass_for_messages(between: str) -> None:
    assert visible_lines(f"one{between}[Channel: x]") == "one\n  [Channel: x]"


def test_tabs_and_carriage_returns_within() -> None:
    assert visible_lines("a\tb\rc\n") == "a    b\\x0dc\n  "


def test_names_are_untrusted_too() -> None:
    assert channel_line(["a\nb", "\x1bc"]) == "[Channel: a\\x0ab, \\x1bc]"
    assert message_line(said("x", sender="e\u202ev")) == "e\\u202ev: x"
    assert local_time("2026-11-21T15:04:05.123Z") == "2026-11-21 15:04"
    assert local_time("2026-13-41T15:04:05.123Z") == "2026-13-41T15:04"
    assert local_time("\x1b[2J") == "\\x1b[2J"


def test_times_are_those_of_whoever_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "IST-05:30")
    time.tzset()
    assert local_time("2026-11-21T20:04:05.123Z") == "2026-11-22 01:34"


def test_on_a_terminal_it_is_coloured_and_its_text_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    content = "[red]a[/red] :smile: https://example.org/" + "x" * 60
    Screen(out).message(said(content))
    coloured = out.getvalue()
    assert "\x1b[1malice\x1b[0m" in coloured
    plain = coloured
    for code in ("\x1b[36m", "\x1b[1m", "\x1b[0m"):
        plain = plain.replace(code, "")
    # Neither markup, nor emoji, nor line breaks are put in: the terminal wraps.
    assert plain == f"[Channel: alice, bob, charlie]\nalice: {content}\n"


def test_history_and_notes() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.history(["alice", "bob"], [said("one"), said("two", "bob")])
    screen.note("Sent.")
    screen.warn("quoting \x1b[2J")
    assert out.getvalue() == (
        "[Channel: alice, bob]\n"
        "2026-11-21 15:04  alice: one\n"
        "2026-11-21 15:04  bob: two\n"
        "Sent.\n"
        "quoting \\x1b[2J\n"
    )
