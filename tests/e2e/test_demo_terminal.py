"""People at terminals of their own, talking through a server that is a process of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testkit.missing import skip_outside_ci
from testkit.restartable import ENVIRONMENT, Service
from testkit.terminal import ROOT, Terminal, TmuxPane

pytestmark = pytest.mark.e2e


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "data")
    running.start()
    yield running
    running.stop()


Sit = Callable[..., Terminal]
DEMO = [sys.executable, "-m", "demo_cli"]


def environment(service: Service) -> dict[str, str]:
    """With the server as ``make run`` and ``make demo`` have it."""
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    return {**ENVIRONMENT, "HOST": host, "PORT": port}


@pytest.fixture
def sit(service: Service) -> Iterator[Sit]:
    """Open a terminal with the demo in it, as a user."""
    terminals: list[Terminal] = []

    def down(user: str, *, connect: bool = True) -> Terminal:
        terminal = Terminal(DEMO, environment(service))
        terminals.append(terminal)
        terminal.see("Enter your user ID:")
        terminal.type(user)
        terminal.see("15. Make an invite link")
        if connect:
            terminal.type("1")
            terminal.see(f"Connected as {user}.")
        return terminal

    yield down
    for terminal in terminals:
        terminal.kill()


def say(terminal: Terminal, participants: str, text: str, *, times: int = 1) -> None:
    """Menu item 2, until it is acknowledged."""
    terminal.type("2")
    terminal.see("Participants", times=times)
    terminal.type(participants)
    terminal.see("Message:", times=times)
    terminal.type(text)
    terminal.see("Sent.", times=times)


def test_two_people_talk(sit: Sit) -> None:
    alice, bob = sit("alice"), sit("bob")
    say(alice, "alice, bob", "Shall we?")
    bob.see("[Channel: alice, bob]\nalice: Shall we?\n")
    say(bob, "alice, bob", "We shall!")
    alice.see("[Channel: alice, bob]\nbob: We shall!\n")
    # Neither got their own.
    assert "alice: Shall we?" not in alice.text
    assert "bob: We shall!" not in bob.text

    alice.type("3")
    alice.see("Participants", times=2)
    alice.type("bob")
    alice.see("alice: Shall we?")
    alice.see("bob: We shall!", times=2)
    alice.type("5")
    alice.see("Users:")
    alice.type("alice, bob, charlie")
    alice.see("alice: connected, 1 time\nbob: connected, 1 time\ncharlie: not connected\n")
    bob.type("4")
    bob.see("bob: We shall!")
    bob.type("6")
    bob.see("Disconnected.")
    for terminal in (alice, bob):
        terminal.type("7")
        assert terminal.end() == 0


def test_three_people_talk(sit: Sit) -> None:
    alice, bob, charlie = sit("alice"), sit("bob"), sit("charlie")
    say(alice, "bob, charlie, alice", "Hello team!")
    for other in (bob, charlie):
        other.see("[Channel: alice, bob, charlie]\nalice: Hello team!\n")
    say(charlie, "alice, bob", "Hello from Charlie")  # oneself is added
    for other in (alice, bob):
        other.see("[Channel: alice, bob, charlie]\ncharlie: Hello from Charlie\n")
    # A conversation is its participants: what two say, the third does not hear.
    say(alice, "bob", "Between us", times=2)
    bob.see("[Channel: alice, bob]\nalice: Between us\n")
    say(bob, "charlie, alice", "To all")
    charlie.see("bob: To all\n")
    assert "Between us" not in charlie.text


def fill(terminal: Terminal, entry: str, *answers: tuple[str, str], sees: str) -> None:
    """A menu item with its questions, each of which is asked anew."""
    asked = {question: terminal.text.count(question) for question, _ in answers}
    terminal.type(entry)
    for question, answer in answers:
        terminal.see(question, times=asked[question] + 1)
        terminal.type(answer)
    terminal.see(sees)


def test_a_group_of_three(sit: Sit) -> None:
    alice, bob, charlie = sit("alice"), sit("bob"), sit("charlie")
    fill(alice, "9", ("Name:", "Readers"), ("Users:", "bob"), sees="Created.")
    bob.see("alice created Readers with bob.\n")
    fill(alice, "10", ("Group (Readers):", ""), ("Users:", "charlie"), sees="Added.")
    for other in (bob, charlie):
        other.see("alice added charlie to Readers.\n")
    fill(charlie, "2", ("Participants (group Readers):", ""), ("Message:", "Hello, readers!"),
         sees="Sent.")  # fmt: skip
    for other in (alice, bob):
        other.see("[Group: Readers]\ncharlie: Hello, readers!\n")
    # A conversation of two is another one; the group is chosen again.
    say(alice, "bob", "Between us")
    bob.see("alice: Between us")
    alice.type("8")
    alice.see("1. group Readers\n2. alice, bob\n")
    alice.see("Conversation:")
    alice.type("1")
    alice.see("Chosen: group Readers.")
    alice.type("3")
    alice.see("Participants (group Readers):")
    alice.type("")
    alice.see("charlie: Hello, readers!", times=2)
    fill(alice, "13", ("Group (Readers):", ""), ("New name:", "Writers"), sees="Renamed.")
    bob.see("alice renamed Readers to Writers.\n")
    fill(alice, "11", ("Group (Writers):", ""), ("Users:", "bob"), sees="Removed.")
    bob.see("alice removed bob from Writers.\n")
    fill(alice, "12", ("Group (Writers):", ""), sees="You left Writers.")
    charlie.see("alice left Writers. charlie is an admin now.\n")
    bob.type("12")
    bob.see("You are in no group; 9 creates one.")
    # Each heard of it once, and not of what they did themselves.
    assert "alice created" not in alice.text
    assert "Between us" not in charlie.text
    assert bob.text.count("alice added charlie") == 1


def test_a_group_is_joined_by_the_code_of_a_link(sit: Sit) -> None:
    alice, bob = sit("alice"), sit("bob")
    fill(alice, "9", ("Name:", "Readers"), ("Users:", ""), sees="Created.")
    fill(alice, "15", ("Group (Readers):", ""), sees="Whoever has this code may join: ")
    found = re.search(r"may join: ([0-9a-f]{64})\n", alice.text)
    assert found is not None, alice.text
    fill(bob, "14", ("Code:", found[1]), sees="You are in Readers.")
    alice.see("bob joined Readers.\n")
    fill(bob, "2", ("Participants (group Readers):", ""), ("Message:", "Hello!"), sees="Sent.")
    alice.see("[Group: Readers]\nbob: Hello!\n")
    assert "invite links" not in alice.text
    assert "bob joined" not in bob.text


def test_a_message_to_nobody_is_told_apart(sit: Sit) -> None:
    alice = sit("alice", connect=False)
    say(alice, "bob", "Anyone?")
    alice.see("Sent. No other participant is connected: it is in the history.")
    say(alice, "alice", "A note", times=2)
    alice.see("Sent. You are the only participant.")
    bob = sit("bob")
    say(alice, "bob", "Hello!", times=3)
    bob.see("alice: Hello!")
    # Enter is for the last conversation: here the one that the message came in.
    bob.type("2")
    bob.see("Participants (alice, bob):")
    bob.type("")
    bob.see("Message:")
    bob.type("Hello, Alice!")
    bob.see("Sent. No other participant is connected")
    # In another terminal, with nothing said in it yet, it is the newest one.
    elsewhere = sit("alice")
    elsewhere.type("3")
    elsewhere.see("Participants (alice, bob):")
    elsewhere.type("")
    elsewhere.see("bob: Hello, Alice!")


def test_a_space_instead_of_a_comma_is_asked_about(sit: Sit) -> None:
    alice, bob = sit("alice"), sit("bob")
    alice.type("2")
    alice.see("Participants:")
    alice.type("alice bob")
    alice.see("User IDs are joined by commas. Do you mean alice, bob? [Y/n]:")
    alice.type("")
    alice.see("Message:")
    alice.type("Shall we?")
    bob.see("[Channel: alice, bob]\nalice: Shall we?\n")
    alice.type("2")
    alice.see("Participants (alice, bob):")
    alice.type("anna maria")
    alice.see("Do you mean anna, maria? [Y/n]:")
    alice.type("n")
    alice.see("Message:", times=2)
    alice.type("One person")
    alice.see("Sent.", times=2)
    alice.type("4")
    alice.see("[Channel: alice, anna maria]")


@pytest.mark.parametrize(
    "command",
    [
        "{demo} --user alice history bob --limit 1000 | head -n 1",
        "{demo} --user alice listen --timeout 5 | true",
        "{demo} --help | true",
        "{demo} --user alice who bob >&-",
        "printf '1\\n5\\n' | {demo} --user alice | head -n 1",
        "printf '2\\nbob\\n' | {demo} --user alice",
        "{demo} < /dev/null",
        "{demo} <&-",
        "{demo} --user alice <&- >&- 2>&-",
    ],
)
def test_a_closed_pipe_is_the_end_and_no_traceback(service: Service, command: str) -> None:
    for number in range(3):
        scripted(service, "send", "bob", "x" * 10_000 + str(number), user="alice")
    done = subprocess.run(
        ["sh", "-c", command.format(demo=" ".join(DEMO))],
        cwd=ROOT,
        env=environment(service),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr


def test_nobody_reading_the_output_has_an_exit_status_of_its_own(service: Service) -> None:
    command = f"({' '.join(DEMO)} --user alice who bob; echo $? >&2) | true"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT, env=environment(service), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == "141\n"


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_a_restart_of_the_server_is_survived_and_said(service: Service, sit: Sit, end: str) -> None:
    alice, bob = sit("alice"), sit("bob")
    say(alice, "bob", "before")
    bob.see("alice: before")
    if end == "stopped":
        assert service.stop() == 0
    else:
        service.kill()
    for terminal in (alice, bob):
        terminal.see("The connection was lost. Reconnecting in")
    # Said while the server is away: it goes out when it is back, once.
    alice.type("2")
    alice.see("Participants", times=2)
    alice.type("")
    alice.see("Message:", times=2)
    alice.type("meanwhile")
    alice.see("Not there yet; it goes out when the connection is back.")
    service.start()
    alice.see("Connected again as alice.")
    alice.see("Sent.", times=2)
    bob.see("Connected again as bob.")
    bob.see("alice: meanwhile")
    say(alice, "bob", "after", times=3)
    bob.see("alice: after")
    assert bob.text.count("alice: before") == 1
    assert bob.text.count("alice: meanwhile") == 1
    bob.type("3")
    bob.see("Participants")
    bob.type("alice")
    bob.see("alice: after", times=2)
    assert bob.text.count("alice: meanwhile") == 2


def test_what_arrives_while_one_types_does_not_tear_the_line(service: Service) -> None:
    if shutil.which("tmux") is None:
        skip_outside_ci("no tmux: put it on the PATH")
    # tmux has the screen as it looks in the end, whatever the cursor did meanwhile.
    command = [sys.executable, "-m", "demo_cli", "--url", service.url, "--user", "bob"]
    pane = TmuxPane(command, ENVIRONMENT)
    try:
        pane.see(lambda lines: lines[-1:] == [">"])
        pane.type("1", "Enter")
        pane.see(lambda lines: "Connected as bob." in lines)
        pane.type("2", "Enter")
        pane.see(lambda lines: lines[-1] == "Participants:")
        pane.type("alice", "Enter")
        pane.see(lambda lines: lines[-1] == "Message:")
        pane.type("half a sen")
        pane.see(lambda lines: lines[-1] == "Message: half a sen")
        for text in ("Hello team!", "[bold]second[/] \x1b[2Jpage"):
            scripted(service, "send", "bob,charlie", text, user="alice")
        shown = pane.see(lambda lines: any("second" in line for line in lines))
        start = shown.index("[Channel: alice, bob, charlie]")
        assert shown[start:] == [
            "[Channel: alice, bob, charlie]",
            "alice: Hello team!",
            "[Channel: alice, bob, charlie]",
            "alice: [bold]second[/] \\x1b[2Jpage",
            "Message: half a sen",
        ]
        pane.type("tence", "Enter")
        pane.see(lambda lines: any(line.startswith("Sent.") for line in lines))
        done = scripted(service, "history", "alice", "--json", user="bob")
        assert json.loads(done.stdout)["content"] == "half a sentence"
    finally:
        pane.kill()


def scripted(service: Service, *arguments: str, user: str) -> subprocess.CompletedProcess[str]:
    """A command of the scriptable form, which is to succeed."""
    return subprocess.run(
        [sys.executable, "-m", "demo_cli", "--url", service.url, "--user", user, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_the_scriptable_form(service: Service, tmp_path: Path) -> None:
    with (tmp_path / "err").open("w") as err:
        listening = subprocess.Popen(
            [sys.executable, "-m", "demo_cli", "--url", service.url, "--user", "bob",
             "listen", "--count", "2", "--timeout", "60", "--json"],
            cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
        try:
            who = ["who", "bob"]
            while scripted(service, *who, user="alice").stdout != "bob: 1\n":
                assert listening.poll() is None
            first = scripted(service, "send", "bob", "one", user="alice").stdout
            assert first.startswith("sent ")
            same = ["send", "bob", "two", "--client-id", "mine", "--json"]
            assert json.loads(scripted(service, *same, user="alice").stdout)["duplicate"] is False
            assert json.loads(scripted(service, *same, user="alice").stdout)["duplicate"] is True
            again = scripted(service, *same[:-1], user="alice").stdout
            assert again.endswith(" (accepted before, under the same client_id)\n")
            out, _ = listening.communicate(timeout=60)
        finally:
            listening.kill()
            listening.wait()
    assert listening.returncode == 0
    heard = [json.loads(line) for line in out.splitlines()]
    assert [message["content"] for message in heard] == ["one", "two"]
    past = scripted(service, "history", "bob", "--limit", "1", user="alice").stdout
    assert past.startswith("[Channel: alice, bob]\n")
    assert past.endswith("  alice: two\n")
