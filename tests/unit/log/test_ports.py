"""The ports of the log: small, and implemented whole by every log."""

from __future__ import annotations

import abc

import pytest

from chatsvc.log.base import (
    LogAppender,
    LogReader,
    LogStatus,
    MessageLog,
    StoreAttachment,
    StoreFeed,
)
from chatsvc.log.local.log import LocalLog
from tests.unit.support.fake_log import FakeLog

PORTS = (LogAppender, LogReader, StoreAttachment, StoreFeed, LogStatus, MessageLog)
MAX_METHODS = 8


@pytest.mark.parametrize("port", PORTS)
def test_a_port_asks_for_few_methods_and_says_what_each_promises(port: type[abc.ABC]) -> None:
    asked = [name for name, member in vars(port).items() if is_abstract(member)]
    assert 1 <= len(asked) <= MAX_METHODS
    assert all(getattr(port, name).__doc__ for name in asked)


@pytest.mark.parametrize("log", [LocalLog, FakeLog])
def test_what_a_log_offers_to_others_is_in_the_ports(log: type[MessageLog]) -> None:
    assert not log.__abstractmethods__
    assert issubclass(log, PORTS)


def is_abstract(member: object) -> bool:
    return bool(getattr(member, "__isabstractmethod__", False))
