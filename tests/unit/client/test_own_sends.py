from __future__ import annotations

import json
from typing import Any

from chatsvc.client.events import Message, decode_message
from chatsvc.client.own_sends import OwnSends
from testkit.scripted_server import message, message_id

BOTH = "alice,bob"


def sent(number: int, **more: Any) -> Message:
    return decode_message(json.dumps(message(number, sender="alice", **more)).encode())


def test_a_send_is_known_by_client_id_and_conversation() -> None:
    own = OwnSends()
    own.add("c1", BOTH)
    assert sent(1, client_id="c1") in own
    assert sent(1, client_id="c2") not in own
    assert sent(1) not in own
    # The same client_id in another conversation is another message, of another device.
    assert sent(1, client_id="c1", channel="alice,carol") not in own


def test_an_acknowledged_send_is_known_by_its_id_too() -> None:
    own = OwnSends()
    own.add("c1", BOTH)
    own.accepted(message_id(1))
    assert sent(1) in own
    assert sent(2) not in own
    assert sent(2, client_id="c1") in own


def test_the_oldest_are_forgotten_beyond_the_bound() -> None:
    own = OwnSends(max_size=2)
    for number in range(3):
        own.accepted(message_id(number))
        own.add(f"c{number}", BOTH)
        own.add("c0", BOTH)  # used again: the newest
    assert [sent(9, client_id=f"c{number}") in own for number in range(3)] == [True, False, True]
    assert [sent(number) in own for number in range(3)] == [False, True, True]


def test_twenty_thousand_are_remembered() -> None:
    own = OwnSends()
    for number in range(20_001):
        own.add(f"c{number}", BOTH)
    assert sent(0, client_id="c0") not in own
    assert sent(0, client_id="c1") in own
