from __future__ import annotations

import time
import uuid
from importlib import import_module

import pytest

from chatsvc.client.uuid7 import build_uuid7, uuid7
from chatsvc.core.ids import uuid7_ms


def test_the_example_of_the_rfc() -> None:
    # RFC 9562, appendix A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00.
    random_bits = (0xCC3 << 62) | 0x18C4DC0C0C07398F
    built = build_uuid7(0x017F22E279B0, random_bits)
    assert str(built) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_version_and_variant_hold_whatever_the_bits() -> None:
    for bits in (0, (1 << 80) - 1):
        built = build_uuid7((1 << 50) - 1, bits)
        assert built.version == 7
        assert built.variant == uuid.RFC_4122


def test_the_standard_librarys_is_used_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = build_uuid7(1, 2)
    module = import_module("chatsvc.client.uuid7")  # the package has a function of that name
    monkeypatch.setattr(module, "_standard", lambda: made)
    assert uuid7() == str(made)


def test_a_fresh_one_carries_the_time_and_is_unlike_any_other() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(made)) == 1000
    for text in made:
        ms = uuid7_ms(text)
        assert ms is not None
        assert before <= ms <= after
