"""Make docs/transcripts/: what people see, and what is left after a crash.

    make transcripts
    python -m scripts.transcripts kill

Each transcript is what really happened, in terminals of tmux and with processes of its own.
It stops with an error if something is not as it should be; then nothing is written.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path

from scripts.kill_and_count import kill_and_count
from testkit import mongod
from testkit.restartable import ENVIRONMENT, Service
from testkit.terminal import ROOT, TmuxPane

FOLDER = ROOT / "docs" / "transcripts"
ROWS = 60
ROUNDS = 5


class Seat:
    """Somebody at a terminal of their own, with the demo running in it."""

    def __init__(self, user: str, url: str, columns: int) -> None:
        environment = {**ENVIRONMENT, "CHATSVC_URL": url, "TZ": "UTC"}
        self.user = user
        self._pane = TmuxPane(["sh"], environment, columns=columns, rows=ROWS)
        self._pane.type("PS1='$ '; clear", "Enter")
        self._pane.see(lambda lines: lines == ["$"])
        self.enter("make demo", sees="Enter your user ID:")
        self.enter(user, sees="15. Make an invite link")
        self.enter("1", sees=f"Connected as {user}.")

    @property
    def lines(self) -> list[str]:
        """The screen."""
        return self._pane.lines()

    def enter(self, text: str, *, sees: str) -> None:
        """Type a line; return when another line that starts so is on the screen."""
        before = self._count(sees)
        self._pane.type(text, "Enter")
        self._pane.see(lambda lines: sum(line.startswith(sees) for line in lines) > before)

    def begin(self, text: str) -> None:
        """Type and do not press Enter."""
        self._pane.type(text)
        self._pane.see(lambda lines: lines[-1].endswith(text))

    def see(self, line: str) -> None:
        """Return when this line is on the screen."""
        self._pane.see(lambda lines: line in lines)

    def send(self, participants: str, text: str) -> None:
        """Menu item 2, until it is acknowledged."""
        self.enter("2", sees="Participants")
        self.enter(participants, sees="Message:")
        self.enter(text, sees="Sent.")

    def history(self, participants: str, last: str) -> None:
        """Menu item 3, until the last line is there."""
        self.enter("3", sees="Participants")
        before = sum(line.endswith(last) for line in self.lines)
        self._pane.type(participants, "Enter")
        self._pane.see(lambda lines: sum(line.endswith(last) for line in lines) > before)

    def choose(self, entry: str, *answers: tuple[str, str], sees: str) -> None:
        """A menu item with its questions, each with its answer, and what is shown in the end."""
        text = entry
        for question, answer in answers:
            self.enter(text, sees=question)
            text = answer
        self.enter(text, sees=sees)

    def leave(self) -> None:
        """Menu item 7."""
        self.enter("7", sees="$")

    def close(self) -> None:
        """End the terminal."""
        self._pane.kill()

    def _count(self, start: str) -> int:
        return sum(line.startswith(start) for line in self.lines)


@contextmanager
def seats(service: Service, users: Sequence[str], columns: int) -> Iterator[list[Seat]]:
    """A terminal for each, side by side."""
    with ExitStack() as stack:
        sitting = []
        for user in users:
            seat = Seat(user, service.url, columns)
            stack.callback(seat.close)
            sitting.append(seat)
        yield sitting


@contextmanager
def serving(**settings: str) -> Iterator[Service]:
    """What ``make run`` starts, on a free port and with a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="chatsvc-transcript-") as folder:
        service = Service(Path(folder) / "data", **settings)
        service.start()
        try:
            yield service
        finally:
            service.stop()


def beside(columns: int, sitting: Sequence[Seat]) -> str:
    """The screens as columns of one text."""
    rows = [[f"{seat.user}'s terminal" for seat in sitting], ["-" * columns for _ in sitting]]
    rows += zip_longest(*(seat.lines for seat in sitting), fillvalue="")
    return "\n".join(" | ".join(cell.ljust(columns) for cell in row).rstrip() for row in rows)


def two_users() -> str:
    """Alice and Bob, in two terminals."""
    with serving() as service, seats(service, ["alice", "bob"], 50) as (alice, bob):
        alice.send("alice, bob", "Shall we?")
        bob.see("alice: Shall we?")
        bob.enter("2", sees="Participants")
        bob.enter("alice", sees="Message:")
        bob.begin("We sh")
        alice.send("", "Now?")
        bob.see("alice: Now?")
        meanwhile = beside(50, [alice, bob])
        bob.enter("all!", sees="Sent.")
        alice.see("bob: We shall!")
        alice.history("bob", "bob: We shall!")
        alice.enter("4", sees="[Channel: alice, bob]")
        alice.enter("5", sees="Users:")
        alice.enter("alice, bob, charlie", sees="charlie: not connected")
        bob.enter("6", sees="Disconnected.")
        alice.enter("5", sees="Users:")
        alice.enter("bob", sees="bob: not connected")
        for seat in (alice, bob):
            seat.leave()
        return (
            "Two users in two terminals: 1 connects, 2 sends, 3 reads history, 4 lists\n"
            "conversations, 5 says who is connected, 6 disconnects, 7 leaves.\n\n"
            "First, while Bob is typing: what arrives appears above the line that he types.\n\n"
            f"{meanwhile}\n\nThen, at the end.\n\n{beside(50, [alice, bob])}\n"
        )


def three_users() -> str:
    """Three users; what two of them say, the third does not hear."""
    names = ["alice", "bob", "charlie"]
    with serving() as service, seats(service, names, 46) as (alice, bob, charlie):
        alice.send("alice, bob, charlie", "Hello team!")
        for seat in (bob, charlie):
            seat.see("alice: Hello team!")
        charlie.send("alice, bob", "And from me!")
        for seat in (alice, bob):
            seat.see("charlie: And from me!")
        alice.send("bob", "Between us")
        bob.see("alice: Between us")
        bob.send("charlie, alice", "To all")
        for seat in (alice, charlie):
            seat.see("bob: To all")
        charlie.history("", "bob: To all")
        _require("Between us" not in "\n".join(charlie.lines), "Charlie heard it")
        return (
            "Three users in three terminals: all get what is said to all; what Alice says to\n"
            "Bob alone, Charlie does not get.\n\n"
            f"{beside(46, [alice, bob, charlie])}\n"
        )


def group() -> str:
    """A group of three: created, talked in, and left by one who is removed."""
    names = ["alice", "bob", "charlie"]
    with serving() as service, seats(service, names, 46) as (alice, bob, charlie):
        alice.choose("9", ("Name:", "Readers"), ("Users:", "bob"), sees="Created.")
        bob.see("alice created Readers with bob.")
        alice.choose("10", ("Group (Readers):", ""), ("Users:", "charlie"), sees="Added.")
        for seat in (bob, charlie):
            seat.see("alice added charlie to Readers.")
        enter = ("Participants (group Readers):", "")
        alice.choose("2", enter, ("Message:", "Hello, readers!"), sees="Sent.")
        for seat in (bob, charlie):
            seat.see("alice: Hello, readers!")
        charlie.choose("2", enter, ("Message:", "Hello, Alice!"), sees="Sent.")
        for seat in (alice, bob):
            seat.see("charlie: Hello, Alice!")
        alice.choose("11", ("Group (Readers):", ""), ("Users:", "bob"), sees="Removed.")
        for seat in (bob, charlie):
            seat.see("alice removed bob from Readers.")
        alice.choose("13", ("Group (Readers):", ""), ("New name:", "Writers"), sees="Renamed.")
        charlie.see("alice renamed Readers to Writers.")
        alice.choose(
            "2", ("Participants (group Writers):", ""), ("Message:", "For two"), sees="Sent."
        )
        charlie.see("alice: For two")
        bob.choose("12", sees="You are in no group")
        _require("Writers" not in "\n".join(bob.lines), "Bob heard of what came after him")
        return (
            "A group of three in three terminals: 9 creates it, 10 adds to it, 2 talks in it,\n"
            "11 removes from it, 13 renames it. Bob hears of nothing after he was removed.\n\n"
            f"{beside(46, [alice, bob, charlie])}\n"
        )


def over_mongodb() -> str:
    """The same over MongoDB's wire protocol, the documents read by another client."""
    with ExitStack() as stack:
        uri = mongod.given_uri()
        if uri is None:
            program = mongod.program()
            _require(program is not None, mongod.NO_MONGODB)
            assert program is not None
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            uri = stack.enter_context(mongod.running(program, folder)).uri
        database = stack.enter_context(mongod.scratch_database(uri))
        settings = {"STORE": "mongodb", "MONGO_URI": uri, "MONGO_DB": database}
        service = stack.enter_context(serving(**settings))
        alice, bob = stack.enter_context(seats(service, ["alice", "bob"], 50))
        alice.send("alice, bob", "Shall we?")
        bob.see("alice: Shall we?")
        bob.send("alice", "We shall!")
        alice.see("bob: We shall!")
        screens = beside(50, [alice, bob])
        _require(service.stop() == 0, "the service did not end well")
        with mongod.client(uri) as other:
            version = other.server_info()["version"]
            documents = list(other[database]["messages"].find().sort("_id"))
        said = [(document["sender"], document["content"]) for document in documents]
        _require(said == [("alice", "Shall we?"), ("bob", "We shall!")], f"in MongoDB: {said}")
        real = mongod.is_mongodb_itself(uri)
        kind = "MongoDB itself" if real else "another program that speaks its wire protocol"
        return (
            "Two users, with STORE=mongodb. The server that the driver talks to is\n"
            f"{kind};\nit gives its version as {version}.\n\n{screens}\n\n"
            "Then the service was stopped, and PyMongo asked:\n\n"
            f">>> for document in client[{database!r}].messages.find().sort('_id'):\n"
            ">>>     for item in document.items(): print(*item)\n"
            + "\n\n".join(
                "\n".join(f"{name:13} {value!r}" for name, value in document.items())
                for document in documents
            )
            + "\n"
        )


def killed() -> str:
    """``kill -9`` in the middle of a burst of sends, several times."""
    with serving() as service:
        return asyncio.run(kill_and_count(service, ROUNDS))


TRANSCRIPTS: dict[str, Callable[[], str]] = {
    "two-users": two_users,
    "three-users": three_users,
    "group": group,
    "mongodb": over_mongodb,
    "kill": killed,
}


def _require(held: bool, what: str) -> None:
    if not held:
        raise SystemExit(f"transcripts: {what}")


def main(names: Sequence[str]) -> None:
    """Make those that are named, or all."""
    for name in names or TRANSCRIPTS:
        _require(name in TRANSCRIPTS, f"{name}: there are {', '.join(TRANSCRIPTS)}")
        text = TRANSCRIPTS[name]()
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.txt").write_text(text)
        print(f"docs/transcripts/{name}.txt")


if __name__ == "__main__":
    main(sys.argv[1:])
