"""A scripted MongoDB (mockupdb): it answers as it is told, and notes what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mockupdb import MockupDB

from chatsvc.core.kinds import Kinds
from chatsvc.core.message import MESSAGES_ONLY
from chatsvc.storage.mongo.store import MongoStore

PATIENT_SECONDS = 60
"""The script answers at once; the driver's threads and its own may not, on a busy machine."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Script:
    """A server: ``answers`` by the name of the command, ``asked`` in their order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {
            "insert": lambda ask: {"ok": 1, "n": len(ask["documents"])},
            "update": lambda ask: {"ok": 1, "n": len(ask["updates"]), "nModified": 1},
            "find": lambda _: found(),
            "delete": lambda _: {"ok": 1, "n": 0},
            "createIndexes": lambda _: {"ok": 1},
            "dropIndexes": lambda _: {"ok": 1},
            "listCollections": lambda _: found(),
            "findAndModify": lambda _: {"ok": 1, "value": {"v": 0, "identity": "i" * 32}},
            "endSessions": lambda _: {"ok": 1},
            "ping": lambda _: {"ok": 1},
        }
        self.server = MockupDB(
            auto_ismaster={
                "ismaster": True,
                "helloOk": True,
                "minWireVersion": 0,
                "maxWireVersion": 21,
                "maxBsonObjectSize": 16 * 1024 * 1024,
                "maxMessageSizeBytes": 48_000_000,
                "maxWriteBatchSize": 100_000,
            }
        )
        self.server.autoresponds(self._answer)

    def _answer(self, request: Any) -> bool:
        ask = dict(request.doc)
        name = next(iter(ask))
        if name in ("hello", "ismaster", "isMaster"):
            return False
        self.asked.append((name, ask))
        request.reply(self.answers.get(name, _unknown)(ask))
        return True

    def last(self, name: str) -> dict[str, Any]:
        return [ask for command, ask in self.asked if command == name][-1]

    def count(self, name: str) -> int:
        return sum(command == name for command, _ in self.asked)


def _unknown(ask: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 0, "code": 59, "errmsg": f"no such command: '{next(iter(ask))}'"}


@contextmanager
def running_script() -> Iterator[Script]:
    """A script whose server runs."""
    script = Script()
    script.server.run()
    try:
        yield script
    finally:
        script.server.stop()


def store_at(uri: str, kinds: Kinds = MESSAGES_ONLY) -> MongoStore:
    """A patient store, not open yet."""
    return MongoStore(
        uri,
        "chat",
        "messages",
        read_seconds=PATIENT_SECONDS,
        write_seconds=PATIENT_SECONDS,
        selection_seconds=PATIENT_SECONDS,
        kinds=kinds,
    )


def found(*documents: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1, "cursor": {"id": 0, "ns": "chat.messages", "firstBatch": list(documents)}}
