"""Folding a batch: what fails is told apart, and a fold sees what a store keeps."""

from __future__ import annotations

import msgspec
import pytest

from chatsvc.core.membership import Channel, RequestKey, StateChange
from chatsvc.core.projection import Column, Max, Projection, Projections, Put, Remove, RowChange
from chatsvc.core.record import Record
from chatsvc.storage.ports.messages import Rejection
from chatsvc.storage.projections.folding import FoldedBatch, FoldFailed, changes_of
from chatsvc.storage.projections.live_range import LiveRange, extended
from testkit.records import change, record

KEY = (Column("id", "integer"),)


def projection(fold: object, name: str = "one", kinds: tuple[str, ...] = ("edit",)) -> Projection:
    return Projection(name=name, version=1, kinds=kinds, key=KEY, fold=fold)  # type: ignore[arg-type]


def put_all(found: Record) -> list[RowChange]:
    return [Put((found.id,), {})]


def test_a_fold_sees_what_a_store_keeps() -> None:
    seen: list[Record] = []
    whole = msgspec.structs.replace(
        change(1, target="t"),
        touches=("r/x",),
        state=StateChange(channel=Channel(1)),
        keys=(RequestKey("alice", "k", b""),),
    )
    changes_of(projection(lambda found: seen.append(found) or []), whole)
    assert seen == [change(1, target="t")]


def test_a_record_of_another_kind_is_not_folded() -> None:
    assert changes_of(projection(lambda found: 1 / 0), record(1)) == []


@pytest.mark.parametrize(
    "fold",
    [
        lambda found: 1 / 0,
        lambda found: None,
        lambda found: [Put((found.id, 1), {})],
        lambda found: [Put(("\ud800",), {})],
        lambda found: [Remove(())],
        lambda found: [Max((1,), "id", 1)],
    ],
)
def test_what_is_no_change_is_a_failure_that_names_the_projection(fold: object) -> None:
    with pytest.raises(FoldFailed, match="'one'"):
        changes_of(projection(fold), change(1))


def test_a_record_that_one_projection_cannot_fold_changes_no_other() -> None:
    def some(found: Record) -> list[RowChange]:
        if found.id == change(2).id:
            raise ValueError("a field error")
        return []

    batch = [change(1), change(2), record(3)]
    both = Projections([projection(put_all), projection(some, "two")])
    folded = FoldedBatch(both, batch)
    assert folded.records == [batch[0], batch[2]]
    assert [(one.record, one.code) for one in folded.rejections] == [(batch[1], "fold_failed")]
    assert "a field error" not in folded.rejections[0].reason, "it may quote content"
    assert list(folded.without([])["one"].states) == [(change(1).id,)]
    assert folded.without([Rejection(batch[0], "unfit", "")]) == {}


def test_two_records_of_one_id_are_told_apart() -> None:
    mine, other = change(1), change(1)
    folded = FoldedBatch(Projections([projection(put_all)]), [mine, other])
    assert len(folded.without([Rejection(other, "digest_conflict", "")])["one"].states) == 1


def test_batches_one_behind_the_other_are_one_range() -> None:
    live = extended(None, 10, 20)
    assert live == LiveRange(10, 20)
    assert (live := extended(live, 20, 30)) == LiveRange(10, 30)
    assert extended(live, 30, 25) == LiveRange(10, 30), "stored again"
    assert extended(live, 29, 40) == LiveRange(29, 40), "the store was put back"
    assert extended(live, 31, 40) == LiveRange(31, 40), "another process wrote to it"
