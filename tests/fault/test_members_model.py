"""Groups, rows of state, projections and clients under whatever befalls log and store.

New ones, and those of the released version with what people wrote by then.
``CHATSVC_MODEL_EXAMPLES`` is how many runs there are; without it they are the same each time. A
failure is shrunk to the fewest steps, and shows them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chatsvc.log.local import attachment, maintenance, opening, state_exchange
from chatsvc.log.local import log as local
from chatsvc.storage import state_exchange as exchange
from chatsvc.storage.persister import batches
from testkit import mongod
from tests.fault.kit.members.checks import check, describe
from tests.fault.kit.members.feature import OTHERS
from tests.fault.kit.members.old import SETS, Past
from tests.fault.kit.members.places import MongoPlace, Place, SqlitePlace
from tests.fault.kit.members.steps import PROGRAMS, STEPS, Step
from tests.fault.kit.members.world import CHANNELS, USERS, Options, World

DEFAULT: Final = 200
EXAMPLES: Final = int(os.environ.get("CHATSVC_MODEL_EXAMPLES", DEFAULT))
MONGO_EXAMPLES: Final = EXAMPLES // 8
"""A step takes longer there."""
MEMORY: Final = Path("/dev/shm")
"""A folder in which fsync costs nothing."""

channels = st.sampled_from(CHANNELS)
users = st.sampled_from(USERS)
some_users = st.lists(users, min_size=1, max_size=3, unique=True)
bools = st.booleans()
few = st.integers(0, 3)
keys = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0, 1])).map(list)
op = st.one_of(
    st.tuples(st.just("put"), keys, st.fixed_dictionaries({"count": few})),
    st.tuples(st.just("max"), keys, st.just("high"), few),
    st.tuples(st.just("remove"), keys),
    st.tuples(st.just("remove"), keys.map(lambda key: key[:1])),
).map(list)
ops = st.lists(op, min_size=1, max_size=2)
WHEN: Final = ("stopped", "running", "in a batch", "before its watermark")

VALUES: Final[dict[str, st.SearchStrategy[tuple[Any, ...]]]] = {
    "join": st.tuples(channels, some_users),
    "leave": st.tuples(channels, users),
    "remove": st.tuples(channels, users, users, bools),
    "dissolve": st.tuples(channels),
    "say": st.tuples(channels, users, st.integers(1, 3)),
    "change": st.tuples(channels, users, ops, st.lists(users, max_size=2, unique=True)),
    "mark_read": st.tuples(channels, users),
    "say_to_set": st.tuples(st.integers(0, len(SETS) - 1), st.none() | ops),
    "tell": st.tuples(channels, users, st.sampled_from(OTHERS)),
    "block": st.tuples(users, users, bools),
    "persist": st.tuples(st.integers(1, 3), st.sampled_from(["", "partly", "answer lost"])),
    "break_exchange": st.tuples(few),
    "write_again": st.tuples(few),
    "begin_anew": st.tuples(st.sampled_from(["things", "senders"])),
    "deploy": st.tuples(st.sampled_from([*PROGRAMS])),
    "live_on": st.tuples(st.sampled_from([1, 5])),
    "restart": st.tuples(bools),
    "crash": st.tuples(bools),
    "put_log_back": st.tuples(few, bools),
    "lose_log": st.tuples(bools),
    "put_store_back": st.tuples(st.integers(-1, 3), st.sampled_from(WHEN)),
    "read": st.tuples(st.integers(0, 5)),
    "fetch": st.tuples(st.integers(0, 5)),
    "disconnect": st.tuples(st.integers(0, 5)),
}
OFTEN: Final = (
    "join",
    "join",
    "say",
    "say",
    "change",
    "persist",
    "persist",
    "read",
    "read",
    "leave",
)

steps = st.sampled_from([*STEPS, *OFTEN]).flatmap(
    lambda name: VALUES.get(name, st.just(())).map(lambda values: Step(name, values))
)
# Lists of lists, for a list has five elements on average.
walks = st.lists(st.lists(steps, max_size=12), max_size=12).map(
    lambda parts: [step for part in parts for step in part]
)
pasts = st.builds(
    Past,
    version=st.sampled_from([2, 1]),
    messages=st.integers(1, 24),
    stored=st.integers(0, 24),
    trimmed=st.integers(0, 24),
    marked=st.booleans(),
)
options = st.builds(
    Options,
    recent_bytes=st.sampled_from([0, 3_000, 1 << 20]),
    batch=st.sampled_from([3, 1, 100]),
    attempts=st.sampled_from([1, 2]),
    collide=st.just(False),
    seed=st.integers(0, 9),
    past=st.none() | pasts,
    knows=st.booleans(),
)


@contextmanager
def small_parts(world: World) -> Iterator[None]:
    """Everything goes in small parts, by the clock of the world."""

    def clock() -> int:
        return world.clock_ms

    with ExitStack() as stack:
        for module in (local, opening, attachment):
            stack.enter_context(mock.patch.object(module, "now_ms", clock))
        stack.enter_context(mock.patch.object(maintenance, "_SECONDS", 3600.0))
        stack.enter_context(mock.patch.object(state_exchange, "_AT_ONCE", 2))
        stack.enter_context(mock.patch.object(exchange, "ROWS_AT_ONCE", 2))
        stack.enter_context(mock.patch.object(batches, "BEHIND_BATCH", world.options.batch))
        stack.enter_context(capture_logs())
        yield


async def walk(world: World, taken: list[Step]) -> None:
    await world.begin()
    try:
        for step in taken:
            await step.take(world)
        await check(world)
    except BaseException as exc:
        exc.add_note(f"{world.options}: {taken}\n{describe(world)}")
        raise
    finally:
        await world.end()


def run(chosen: Options, taken: list[Step], place: Place | None = None) -> None:
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
    world = World(folder, chosen, place or SqlitePlace(folder))
    try:
        with small_parts(world):
            asyncio.run(asyncio.wait_for(walk(world, taken), 60))
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(4000)
@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == DEFAULT,  # the suite tries the same each time
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    print_blob=False,
    database=None,
)
@given(chosen=options, taken=walks)
def test_everybody_has_the_same_once_all_is_quiet(chosen: Options, taken: list[Step]) -> None:
    run(chosen, taken)


@pytest.mark.timeout(4000)
@settings(
    max_examples=MONGO_EXAMPLES,
    phases=[Phase.generate, Phase.shrink],
    derandomize=EXAMPLES == DEFAULT,
    report_multiple_bugs=False,
    print_blob=False,
    database=None,
)
@given(chosen=options, taken=walks)
def test_everybody_has_the_same_with_mongodb(
    mongo_uri: str, chosen: Options, taken: list[Step]
) -> None:
    with mongod.scratch_database(mongo_uri) as name:
        run(chosen, taken, MongoPlace(mongo_uri, name))


def test_members_are_counted_of_rows_that_were_stored_in_part() -> None:
    """The log was lost after the store had taken a part of a batch."""
    taken = [
        Step("join", (",g:one", ["alice", "bob"])),
        Step("leave", (",g:one", "alice")),
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "partly")),
        Step("lose_log", (False,)),
    ]
    for seed in range(10):
        run(Options(seed=seed), taken)


def test_a_new_log_takes_rows_from_a_store_without_records() -> None:
    """An empty store was given the rows of the log, which was lost before its next record."""
    taken = [
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("lose_log", (False,)),
        Step("persist", (1, "")),
        Step("put_store_back", (-1, "stopped")),  # an empty one
        Step("persist", (1, "")),
        Step("lose_log", (False,)),
    ]
    run(Options(), taken)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a log does not learn the rows of an older store"
)
def test_another_store_that_is_not_ahead_has_members_too() -> None:
    """The log gives it its rows, and never learns those that are in it.

    Whoever is a member by the log's row and by the store's has two intervals that overlap.
    """
    taken = [
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("lose_log", (False,)),
        Step("put_store_back", (-1, "stopped")),  # an empty one
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("lose_log", (False,)),
        Step("persist", (1, "")),
        Step("put_store_back", (1, "stopped")),  # the first
    ]
    run(Options(same_store=False), taken)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a log does not learn rows whose records are lost"
)
def test_rows_of_records_that_were_lost_with_the_log_are_in_the_log_too() -> None:
    """A store that was lost gets the rows of all records, and of those only the first.

    Where the log is put back to before the others, that the store has seen more is in its rows
    alone, which nobody compares. A row that is given with its record alone would not do: one whose
    record was put into quarantine comes with none.
    """
    taken = [
        Step("join", (",g:one", ["alice"])),
        Step("leave", (",g:one", "alice")),
        Step("join", (",g:one", ["alice"])),
        Step("back_up_log"),
        Step("join", (",g:one", ["bob"])),
        Step("put_store_back", (-1, "stopped")),  # an empty one
        Step("persist", (1, "")),
        Step("put_log_back", (0, False)),
    ]
    run(Options(lose_rows=True), taken)


def test_an_upgraded_store_whose_log_has_nothing_left_has_its_rows_built() -> None:
    """Of the released version, and no message comes that would be stored with a watermark."""
    run(Options(past=Past(messages=3, stored=3, trimmed=3), knows=False), [])


def test_a_new_log_tells_its_store_of_what_lies_above_the_watermark() -> None:
    taken = [Step("persist", (1, "")), Step("lose_log", (False,))]
    run(Options(recent_bytes=1 << 20, past=Past(2, messages=4, stored=4), knows=False), taken)


def test_a_log_that_had_trimmed_everything_knows_that_its_store_has_seen_more() -> None:
    taken = [
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("put_log_back", (0, False)),  # the one of before
        Step("join", (",g:one", ["alice"])),
        Step("restart", (True,)),
    ]
    run(Options(past=Past(messages=1, stored=1, trimmed=1)), taken)


def test_cursors_of_a_lost_log_are_not_believed_by_one_of_the_released_version() -> None:
    taken = [
        Step("lose_log", (False,)),  # with a message that was not stored
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("read", (1,)),
        Step("put_log_back", (0, False)),  # the one of before
    ]
    run(Options(past=Past(messages=1, stored=0)), taken)


def test_a_store_that_is_put_back_gets_the_rows_that_it_gave_to_the_log() -> None:
    """The log took them, and has stored nothing of its own since."""
    taken = [
        Step("join", (",g:one", ["alice"])),
        Step("persist", (1, "")),
        Step("put_log_back", (0, False)),  # the one of before
        Step("put_store_back", (0, "in a batch")),
    ]
    run(Options(past=Past(2, messages=1, stored=0)), taken)
