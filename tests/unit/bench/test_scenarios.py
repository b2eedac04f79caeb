"""Every scenario runs, with tiny numbers; what it measures is nobody's concern here."""

from __future__ import annotations

import json
from itertools import repeat
from pathlib import Path

import pytest

from bench import http_load
from bench.contenders import CONTENT, bare, people
from bench.listeners import Listeners
from bench.options import Options
from bench.processes import Failed, cores, started
from bench.report import Figures
from bench.scenarios import durable, fanout, group_fanout, history, idle, restart


def options(folder: Path) -> Options:
    return Options(
        sockets=6,
        people=3,
        publishes={1: 2, 4: 8},
        sends={1: 2, 4: 64},
        idle=4,
        pages=20,
        entries=500,
        settle_seconds=0.0,
        peers=(bare(),),
        folder=folder,
    )


def columns(figures: Figures) -> set[tuple[str, str]]:
    return {(figure.contender, figure.what) for figure in figures.all()}


async def test_a_fan_out_reaches_everybody(tmp_path: Path) -> None:
    figures = Figures()
    await fanout.run(options(tmp_path), figures)
    assert columns(figures) == {
        (name, what) for name in ("chatsvc", "bare uvloop") for what in ("1 at once", "4 at once")
    }


async def test_messages_to_groups_reach_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_fanout, "CONNECTED", 3)
    monkeypatch.setattr(group_fanout, "SIZES", (4, 7))
    figures = Figures()
    await group_fanout.run(options(tmp_path), figures)
    assert columns(figures) == {
        (name, what)
        for name in ("a set of 3", "a group of 4", "a group of 7")
        for what in ("1 at once", "4 at once")
    }


async def test_durable_sends_by_post_and_by_socket(tmp_path: Path) -> None:
    figures = Figures()
    await durable.run(options(tmp_path), figures)
    found = columns(figures)
    assert {("chatsvc", "8 at once"), ("chatsvc, loop thread alone", "1 at once")} <= found
    assert ("bare uvloop", "4 at once") in found


@pytest.mark.slow
async def test_idle_sockets_pages_and_a_start(tmp_path: Path) -> None:
    figures = Figures()
    for scenario in (idle, history, restart):
        await scenario.run(options(tmp_path), figures)
    found = columns(figures)
    assert {("chatsvc", "memory of each"), ("bare uvloop", "CPU to connect again")} <= found
    assert {("chatsvc", "oldest, from the store"), ("bare uvloop", "as many bytes")} <= found
    assert ("chatsvc", "1,500 entries in the log") in found


async def test_a_delivery_too_many_is_noticed(tmp_path: Path) -> None:
    peer = bare()
    with peer.run(tmp_path, cores().server) as server:
        async with Listeners(cores().load) as listeners:
            publish = peer.publishing(people(1), CONTENT)
            await listeners.open(server.port, [peer.opening("u")] * 2, sends_hello=False)
            done = await http_load.run(server.port, repeat(publish, 3), at_once=1)
            assert (done.requests, done.size > 0) == (3, True)
            with pytest.raises(Failed, match="not everybody had everything"):
                await listeners.wait(2)


async def test_an_answer_of_another_kind_is_a_failure(tmp_path: Path) -> None:
    peer = bare()
    with peer.run(tmp_path, cores().server) as server:
        ask = http_load.request("GET", "/page?bytes=3", {})
        with pytest.raises(Failed, match="another kind"):
            await http_load.run(server.port, repeat(ask, 1), at_once=1, statuses=(204,))


def test_a_server_that_does_not_start_is_reported(tmp_path: Path) -> None:
    command = ("python3", "-c", "raise SystemExit('no such luck')")
    with (
        pytest.raises(Failed, match="no such luck"),
        started(command, {}, tmp_path, cores().server),
    ):
        raise AssertionError("it did start")


def test_the_peers_lock_names_no_registry() -> None:
    lock = Path(__file__).parents[3] / "bench" / "peers" / "node" / "package-lock.json"
    packages = json.loads(lock.read_text())["packages"]
    assert packages["node_modules/ws"]["integrity"].startswith("sha512-")
    assert all("resolved" not in package for package in packages.values())
