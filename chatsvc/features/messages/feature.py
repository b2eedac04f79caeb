"""The feature: send messages to a set of users, and read them back."""

from __future__ import annotations

from typing import Protocol

from chatsvc.api.feature import Feature
from chatsvc.core.limits import Limits
from chatsvc.core.message import MESSAGE
from chatsvc.features.messages import api
from chatsvc.features.messages import commands as socket_commands
from chatsvc.features.messages.channels import ConversationSender
from chatsvc.features.messages.error_codes import ERROR_CODES
from chatsvc.features.messages.member_sends import MemberSends
from chatsvc.features.messages.metrics import metrics
from chatsvc.features.messages.model import Message
from chatsvc.features.messages.reading import History, MessageReader
from chatsvc.features.messages.service import MessageService, Policy
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding
from chatsvc.storage.history.repeats import ClientIds


class Reads(History, ClientIds, Protocol):
    """What is stored: messages, and the ``client_id``s of those that the log has forgotten."""


def feature(
    *, log: MessageLog, deciding: Deciding, history: Reads, policy: Policy, limits: Limits
) -> Feature:
    """Return the feature.

    Args:
        log: where what is accepted goes.
        deciding: makes decisions against the log's state.
        history: where it is read.
        policy: who may send to whom.
        limits: the bounds of what a message may hold.
    """
    service = MessageService(log=log, policy=policy, client_ids=history, limits=limits)
    members = MemberSends(log=log, deciding=deciding, client_ids=history, limits=limits)
    sender = ConversationSender(service=service, members=members, lookup=history, limits=limits)
    reader = MessageReader(history=history, limits=limits)
    return Feature(
        name="messages",
        kinds=(MESSAGE,),
        operations=api.operations(sender, reader, limits),
        commands=socket_commands.commands(sender, limits),
        frames=(Message,),
        error_codes=ERROR_CODES,
        metrics=metrics(log),
    )
