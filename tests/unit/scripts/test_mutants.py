"""What a mutant is taken for, where no test killed it."""

from __future__ import annotations

import pytest

from scripts.mutants import Mutant, is_log, is_text, kind_of

ADD = "chatsvc.log.idempotency.xǁKeyWindowǁadd__mutmut_3"


@pytest.mark.parametrize(
    ("name", "function"),
    [
        (ADD, "chatsvc.log.idempotency.KeyWindow.add"),
        (
            "chatsvc.log.idempotency.xǁKeyWindowǁ__len____mutmut_1",
            "chatsvc.log.idempotency.KeyWindow.__len__",
        ),
        ("chatsvc.wire.frames.x__require_utf8__mutmut_12", "chatsvc.wire.frames._require_utf8"),
        ("chatsvc.wire.frames.x_mask__mutmut_2", "chatsvc.wire.frames.mask"),
    ],
)
def test_a_mutant_names_its_function(name: str, function: str) -> None:
    assert Mutant(name, ()).function == function


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ('raise Invalid.at(p, "too_long", "content must fit", 1)',
         'raise Invalid.at(p, "too_long", "XXcontent must fitXX", 1)', True),
        ('f"at most {n} bytes"', 'f"AT MOST {N} BYTES"', True),
        ('raise Invalid.at(p, "too_long", "content must fit", 1)',
         'raise Invalid.at(p, "XXtoo_longXX", "content must fit", 1)', False),
        ('raise Invalid.at(p, "too_long", "content must fit", 1)',
         'raise Invalid.at(p, "too_long", "content must fit", 2)', False),
        ('raise Invalid.at(p, "too_long", "content must fit", 1)',
         'raise Invalid.at(p, "too_long", None, 1)', False),
        ("a = 1", "a = 2", False),
    ],
)  # fmt: skip
def test_only_the_wording_of_a_sentence_is_text(before: str, after: str, text: bool) -> None:
    assert is_text((f"-    {before}", f"+    {after}")) is text


def test_what_a_line_of_the_log_carries() -> None:
    assert is_log(('-        _logger.warning("slow", user=user)', "+        _logger.warning(None)"))
    assert not is_log(("-        catalogue.info(1)", "+        catalogue.info(2)"))
    assert not is_log(("-        a = 1", "+        a = 2"))


def test_an_equivalent_mutant_is_known_by_its_function_and_its_lines() -> None:
    mutant = Mutant(ADD, ("-        if n > 1:", "+        if n >= 1:"))
    entry = {
        "function": "chatsvc.log.idempotency.KeyWindow.add",
        "change": "if n >= 1:",
        "why": "n is odd",
    }
    other = entry | {"change": "if n >= 2:"}
    used: set[int] = set()
    assert kind_of(mutant, [other, entry], used) == "equivalent"
    assert used == {1}
    assert kind_of(mutant, [other], used) == "survived"
