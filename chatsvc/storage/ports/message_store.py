"""A whole store: what an adapter implements, and what is made where the service is put together."""

from __future__ import annotations

from chatsvc.storage.ports.client_ids import ClientIdReader
from chatsvc.storage.ports.conversations import ConversationReader
from chatsvc.storage.ports.dead_letters import HasDeadLetters
from chatsvc.storage.ports.lifecycle import StoreLifecycle
from chatsvc.storage.ports.membership import StateReader, StateWriter
from chatsvc.storage.ports.messages import MessagePurger, MessageReader, MessageWriter
from chatsvc.storage.ports.projections import HasProjections, RecordScan
from chatsvc.storage.ports.records import RecordReader
from chatsvc.storage.ports.watermark import StoreWatermark


class MessageStore(
    StoreLifecycle,
    StoreWatermark,
    MessageWriter,
    MessageReader,
    MessagePurger,
    RecordReader,
    RecordScan,
    ConversationReader,
    ClientIdReader,
    StateReader,
    StateWriter,
    HasDeadLetters,
    HasProjections,
):
    """Every port of the store, for an adapter to inherit."""

    reads_at_once: int = 3
    """How many reads of history it answers at the same time; more would wait inside it."""
