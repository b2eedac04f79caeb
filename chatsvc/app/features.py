"""The features that are served: the only place that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatsvc.api.feature import Feature, kinds_of, projections_of
from chatsvc.core.kinds import Kinds
from chatsvc.core.limits import Limits
from chatsvc.core.projection import Projections
from chatsvc.features.changes import feature as changes
from chatsvc.features.connections import feature as connections
from chatsvc.features.connections.service import Presence
from chatsvc.features.conversations import feature as conversations
from chatsvc.features.dev_login import feature as dev_login
from chatsvc.features.groups import feature as groups
from chatsvc.features.messages import feature as messages
from chatsvc.features.messages.service import Policy
from chatsvc.log.base import MessageLog
from chatsvc.log.deciding import Deciding
from chatsvc.log.merging import Merging
from chatsvc.storage.history.history import History
from chatsvc.storage.history.memberships import Memberships
from chatsvc.storage.history.repeats import Repeats
from chatsvc.storage.projections.reader import RowReader


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureParts:
    """What features are built from.

    Args:
        log: where what is accepted goes.
        deciding: makes decisions against the log's state.
        merging: the same, of requests that wait for one turn together.
        history: where it is read.
        memberships: who is, and was, in which groups and rooms.
        repeats: finds what a ``client_id`` was used for.
        rows: the rows of projections.
        presence: who is connected.
        policy: who may send to whom.
        limits: the bounds of requests.
        mint_dev_token: returns a token of any user and its expiry; ``None``: no development
            login.
        dev_login_local_only: whether that is only for requests from this machine.
        connections_require_auth: whether the connection lookup needs a token.
    """

    log: MessageLog
    deciding: Deciding
    merging: Merging
    history: History
    memberships: Memberships
    repeats: Repeats
    rows: RowReader
    presence: Presence
    policy: Policy
    limits: Limits
    mint_dev_token: Callable[[str], tuple[str, int]] | None
    dev_login_local_only: bool
    connections_require_auth: bool


def features(parts: FeatureParts) -> tuple[Feature, ...]:
    """Return every feature; a new one is a line here."""
    limits, history = parts.limits, parts.history
    found = [
        messages.feature(
            log=parts.log,
            deciding=parts.deciding,
            history=history,
            policy=parts.policy,
            limits=limits,
        ),
        changes.feature(history=history, limits=limits),
        conversations.feature(history=history, limits=limits),
        groups.feature(
            log=parts.log,
            deciding=parts.deciding,
            merging=parts.merging,
            memberships=parts.memberships,
            repeats=parts.repeats,
            limits=limits,
        ),
        connections.feature(
            presence=parts.presence, limits=limits, require_auth=parts.connections_require_auth
        ),
    ]
    if parts.mint_dev_token is not None:
        found.append(
            dev_login.feature(
                mint=parts.mint_dev_token, limits=limits, local_only=parts.dev_login_local_only
            )
        )
    return tuple(found)


def known_kinds() -> Kinds:
    """Return the kinds of records that this program knows, whatever its settings."""
    return kinds_of(declared_features(Limits()))


def known_projections() -> Projections:
    """Return the projections that this program keeps, whatever its settings."""
    return projections_of(declared_features(Limits()))


def declared_features(limits: Limits) -> tuple[Feature, ...]:
    """Return every feature as documents describe them, the development login included.

    They are built from nothing: their handlers must not be called.
    """
    absent: Any = None
    return features(
        FeatureParts(
            log=absent,
            deciding=absent,
            merging=absent,
            history=absent,
            memberships=absent,
            repeats=absent,
            rows=absent,
            presence=absent,
            policy=absent,
            limits=limits,
            mint_dev_token=lambda user: absent,
            dev_login_local_only=True,
            connections_require_auth=False,
        )
    )
