"""The judge of Autobahn's report is judged, and the echo server echoes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.autobahn.report import failures, main

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"behavior": "OK", "behaviorClose": "OK"}
LATE = {"behavior": "NON-STRICT", "behaviorClose": "INFORMATIONAL"}


def test_what_passes_passes(tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"chatsvc": {"1.1.1": GOOD, "6.4.1": LATE}}))
    assert main(str(index)) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"behavior": "FAILED", "behaviorClose": "OK"},
        {"behavior": "OK", "behaviorClose": "WRONG CODE"},
        {"behavior": "OK", "behaviorClose": "UNCLEAN"},
        {"behavior": "UNIMPLEMENTED", "behaviorClose": "OK"},
    ],
)
def test_what_fails_is_named(bad: dict[str, str]) -> None:
    (line,) = failures({"chatsvc": {"1.1.1": GOOD, "7.3.2": bad}})
    assert line.startswith("chatsvc 7.3.2: ")


def test_a_report_of_nothing_is_no_success(tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    index.write_text("{}")
    assert main(str(index)) == 1


async def test_the_echo_server_echoes_text_and_binary() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.autobahn.echo_server"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split()[1])
            async with connect(
                f"ws://127.0.0.1:{port}/ws", subprotocols=["chatsvc.v1", "bearer.any"]
            ) as socket:
                for message in ("héllo", b"\x00\xff", "x" * 300_000):
                    await socket.send(message)
                    assert await socket.recv() == message
        finally:
            process.kill()
