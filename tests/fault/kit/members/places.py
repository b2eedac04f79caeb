"""Where the store of a run lies: made anew at each start, copied, and put back."""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pymongo import IndexModel

from chatsvc.core.projection import Projections
from chatsvc.core.record import Record
from chatsvc.log.reconcile import Mark
from chatsvc.storage.mongo.watermark import _mark_document
from chatsvc.storage.sqlite.watermark import set_watermark
from testkit import mongo_version_2, mongod
from testkit.old_stores import IDENTITY, old_store, put_messages
from tests.fault.kit.members.feature import KINDS
from tests.fault.kit.model_data import copy
from tests.fault.kit.unsteady_store import UnsteadyMongo, UnsteadySqlite

Store = UnsteadySqlite | UnsteadyMongo
_OWN = ("name", "v", "ns")
"""What an index says of itself that is no option of it."""


class Place(ABC):
    """A store of one backend, whichever lies there."""

    @abstractmethod
    def make(self, projections: Projections, dice: random.Random) -> Store:
        """Another store over the same data, not yet open."""

    @abstractmethod
    def back_up(self) -> Any:
        """What is there now, for :meth:`put`."""

    @abstractmethod
    def put(self, backup: Any) -> None:
        """Have this in its place; ``None``: nothing."""

    @abstractmethod
    def replace(self, backup: Any) -> None:
        """The same under an open store."""

    @abstractmethod
    def write_old(self, version: int, records: Sequence[Record], mark: Mark | None) -> str:
        """Have a store there as an older version of the program left it; its name."""


class SqlitePlace(Place):
    def __init__(self, folder: Path) -> None:
        self._path = folder / "store.db"
        self._made = 0

    def make(self, projections: Projections, dice: random.Random) -> Store:
        return UnsteadySqlite(self._path, dice, kinds=KINDS, projections=projections)

    def back_up(self) -> Any:
        return copy(self._path, self._path.parent, "store-backup")

    def put(self, backup: Any) -> None:
        for path in self._path.parent.glob("store.db*"):
            path.unlink()
        if backup is not None:
            self.replace(backup)

    def replace(self, backup: Any) -> None:
        self._made += 1
        put = self._path.with_name(f"put-{self._made}")
        shutil.copy(backup, put)
        put.rename(self._path)

    def write_old(self, version: int, records: Sequence[Record], mark: Mark | None) -> str:
        with old_store(self._path, version) as db:
            put_messages(db, records)
            if mark is not None:
                set_watermark(db, None, mark)
        return IDENTITY


class MongoPlace(Place):
    def __init__(self, uri: str, db: str) -> None:
        self._uri, self._db = uri, db

    def make(self, projections: Projections, dice: random.Random) -> Store:
        return UnsteadyMongo(self._uri, self._db, dice, kinds=KINDS, projections=projections)

    def back_up(self) -> Any:
        return self._with(
            lambda db: {
                name: (list(db[name].find()), list(db[name].list_indexes()))
                for name in db.list_collection_names()
            }
        )

    def put(self, backup: Any) -> None:
        def do(db: Any) -> None:
            db.client.drop_database(db.name)
            for name, (documents, indexes) in (backup or {}).items():
                models = [
                    IndexModel(
                        list(one["key"].items()),
                        name=one["name"],
                        **{key: one[key] for key in one if key not in ("key", *_OWN)},
                    )
                    for one in indexes
                    if one["name"] != "_id_"
                ]
                if models:
                    db[name].create_indexes(models)
                if documents:
                    db[name].insert_many(documents)

        self._with(do)

    def replace(self, backup: Any) -> None:
        self.put(backup)

    def write_old(self, version: int, records: Sequence[Record], mark: Mark | None) -> str:
        def do(db: Any) -> str:
            mongo_version_2.make(db, version)
            mongo_version_2.write(db, records)
            if mark is not None:
                db.messages_meta.insert_one({"_id": "watermark", **_mark_document(mark)})
            return str(db.messages_meta.find_one({"_id": "store"})["identity"])

        return self._with(do)

    def _with(self, do: Callable[[Any], Any]) -> Any:
        with mongod.client(self._uri) as client:
            return do(client[self._db])
