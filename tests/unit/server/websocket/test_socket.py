"""One socket on a transport in the test's hand: what no network shows on demand."""

from __future__ import annotations

import asyncio
import time

import pytest

from chatsvc.auth.principal import Principal
from chatsvc.core.errors import Invalid, LogUnavailable
from chatsvc.delivery.resume import Plan
from chatsvc.log.base import Appended
from chatsvc.log.reconcile import EpochEntry
from chatsvc.server.websocket import monitor as monitor_module
from chatsvc.server.websocket.monitor import SocketMonitor
from chatsvc.wire import frames
from chatsvc_conformance.framing import client_frame
from testkit.drafts import record
from testkit.waiting import until
from tests.unit.support.socket_world import World, kinds, last_frame, send, turns
from tests.unit.support.sockets import attach, texts


@pytest.fixture
async def world() -> World:
    return World()


async def test_answers_of_one_turn_go_out_in_one_write(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(send("1") + send("2") + send("3"))
    before = len(transport.writes)
    for at, (_, future) in enumerate(world.asked):
        future.set_result(Appended(at + 1, b"", False))
    await turns()
    assert len(transport.writes) == before + 1
    assert kinds(transport) == ["hello", "1", "2", "3"]


async def test_at_the_bound_of_unacknowledged_it_stops_reading_and_goes_on(
    world: World,
) -> None:
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(10)))
    assert [content for content, _ in world.asked] == ["0", "1", "2", "3"]
    assert not transport.reading
    for at in range(10):
        world.asked[at][1].set_result(Appended(at + 1, b"", False))
        await turns()
    assert [content for content, _ in world.asked] == [str(at) for at in range(10)]
    assert transport.reading
    assert kinds(transport) == ["hello", *(str(at) for at in range(10))]


async def test_what_is_looked_up_is_overtaken_by_no_send(world: World) -> None:
    gate = asyncio.Event()
    looked_up: list[str] = []

    def by_task(content: str) -> asyncio.Future[Appended]:
        async def look() -> Appended:
            await gate.wait()
            looked_up.append(content)
            return Appended(2, b"", False)

        if content != "look":
            return world.plain(content)
        return asyncio.create_task(look())

    world.next_future = by_task
    socket, transport = world.open()
    socket.data_received(send("before") + send("look") + send("after"))
    assert [content for content, _ in world.asked] == ["before", "look"]
    world.asked[0][1].set_result(Appended(1, b"", False))
    await turns()
    assert [content for content, _ in world.asked] == ["before", "look"], "still looked up"
    assert transport.reading
    gate.set()
    await turns()
    assert looked_up == ["look"]
    assert [content for content, _ in world.asked] == ["before", "look", "after"]
    assert transport.reading


async def test_refusals_are_answered_whoever_raises_them(world: World) -> None:
    def refuses(content: str) -> asyncio.Future[Appended]:
        raise {
            "invalid": Invalid.at("/content", "bad", "it is bad"),
            "bug": ZeroDivisionError(),
        }[content]

    socket, transport = world.open()
    world.next_future = refuses
    socket.data_received(send("invalid") + send("bug"))
    world.next_future = world.plain
    socket.data_received(send("away") + send("broken"))
    world.asked[0][1].set_exception(LogUnavailable("full", code="disk_full"))
    world.asked[1][1].set_exception(ZeroDivisionError())
    await turns()
    codes = [(one.get("ref"), one.get("code")) for one in texts(transport.wire)[1:]]
    assert codes == [
        ("invalid", "bad"),
        ("bug", "internal_error"),
        ("away", "disk_full"),
        ("broken", "internal_error"),
    ]
    assert not transport.is_closing()


async def test_nothing_follows_the_close_frame(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(send("answered") + send("late"))
    world.asked[0][1].set_result(Appended(1, b"", False))
    await asyncio.sleep(0)
    socket.close(1012, "restart")
    world.asked[1][1].set_result(Appended(2, b"", False))
    await turns()
    assert last_frame(transport)[0] == 8
    assert "answered" in kinds(transport)
    assert "late" not in kinds(transport)


async def test_delivery_skips_a_socket_that_is_closing(world: World) -> None:
    socket, transport = world.open()
    assert world.hub.of("alice") == (socket,)
    socket.close(1012, "restart")
    assert world.hub.size == 0
    wire = bytes(transport.wire)
    socket.write(b"a frame that was on its way")
    socket.write_all([b"another"])
    assert transport.wire == wire


async def test_a_broken_frame_half_closes_and_listens_to_nothing_more(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(client_frame(frames.TEXT, b"\xff") + send("unread"))
    assert last_frame(transport)[1][:2] == (1007).to_bytes(2, "big")
    assert transport.half_closed
    socket.data_received(send("unread"))
    assert world.asked == []
    socket.connection_lost(None)
    assert world.counts.closed[0].startswith("1007 ")
    assert not world.registry.sockets


async def test_a_peer_that_does_not_answer_the_close_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsvc.server.websocket.closing.CLOSE_SECONDS", 0.01)
    socket, transport = world.open()
    socket.close(1012, "restart")
    await until(lambda: transport.aborted)
    await turns()
    assert not world.registry.sockets


async def test_the_peers_close_is_answered_and_ends_it(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(client_frame(8, (4000).to_bytes(2, "big")) + send("after the close"))
    assert last_frame(transport) == (8, (4000).to_bytes(2, "big"))
    assert transport.is_closing()
    assert world.asked == []


async def test_a_send_on_a_socket_that_was_just_cut_does_not_raise(world: World) -> None:
    socket, transport = world.open()
    transport.close()
    socket.data_received(b"".join(send(str(at)) for at in range(6)))
    for _, future in world.asked:
        future.set_result(Appended(1, b"", False))
    await turns()
    socket.connection_lost(None)
    assert world.counts.closed == ["client went away"]


async def test_a_heartbeat_moves_the_cursor_of_a_live_socket(world: World) -> None:
    socket, transport = world.open()
    world.beat(socket)
    world.log.tail.extend([record(5, sender="zoe", to=("yan",))])
    socket.received = True
    world.beat(socket)
    socket.received = True
    world.beat(socket)
    cursors = [one for one in texts(transport.wire) if one["type"] == "cursor"]
    assert cursors == [{"type": "cursor", "cursor": "e.0000000000000005"}], "once"


async def test_a_socket_that_is_still_resuming_gets_no_cursor(world: World) -> None:
    """It would jump over what is not sent yet."""
    world.log.tail.extend([record(at) for at in range(1, 4)])
    socket, transport = world.open("bob", Plan(0, True))
    world.beat(socket)
    assert [one["type"] for one in texts(transport.wire)] == ["hello"]
    await until(lambda: socket.waiting is None)
    assert [one["type"] for one in texts(transport.wire)] == [
        "hello", "message", "message", "message", "caught_up",
    ]  # fmt: skip


async def test_a_socket_that_is_held_is_not_missing_its_heartbeat(world: World) -> None:
    socket, transport = world.open()
    socket.data_received(b"".join(send(str(at)) for at in range(4)))
    assert not transport.reading
    for _ in range(3):
        world.beat(socket)
    assert last_frame(transport)[0] != 8


async def test_silence_is_4103(world: World) -> None:
    socket, transport = world.open()
    world.beat(socket)
    world.beat(socket)
    assert last_frame(transport)[1][:2] == (4103).to_bytes(2, "big")
    assert transport.is_closing()


async def test_expiry_is_told_once_and_ends_with_4002(world: World) -> None:
    socket, transport = world.open(expires_in=1.5)
    for _ in range(3):
        socket.received = True
        world.beat(socket)
    await turns()
    assert kinds(transport).count("auth_expiring") <= 1
    await until(lambda: last_frame(transport)[0] == 8)
    assert last_frame(transport)[1][:2] == (4002).to_bytes(2, "big")
    assert kinds(transport).count("auth_expiring") == 1


async def test_a_heartbeat_that_fails_stops_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "_TICK_SECONDS", 0.001)
    world = World(heartbeat_seconds=0.02)
    pairs = [world.open(f"user{at}") for at in range(3)]
    pairs[1][1].broken = True
    monitor = SocketMonitor(world.parts)
    monitor.start()
    await until(lambda: all(b"\x89\x00" in pairs[at][1].wire for at in (0, 2)))
    await until(lambda: pairs[1][1].aborted)
    await monitor.stop()


async def test_a_stalled_socket_is_cut_by_the_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "_TICK_SECONDS", 0.01)
    world = World(stall_seconds=0.05)
    socket, _ = world.open()
    stuck = attach(socket, capacity=0)
    socket.write(b"x" * 70_000)
    assert world.registry.slow == {socket}
    monitor = SocketMonitor(world.parts)
    monitor.start()
    await until(lambda: stuck.aborted)
    await turns()
    await monitor.stop()
    assert world.counts.closed == ["stalled"]
    assert not world.registry.slow


async def test_closing_all_waits_for_them_and_cuts_who_stays(world: World) -> None:
    polite, stubborn = world.open("polite"), world.open("stubborn")
    closing = asyncio.create_task(SocketMonitor(world.parts).close_all(0.1))
    await turns()
    for socket, transport in (polite, stubborn):
        code, reason = last_frame(transport)[1][:2], last_frame(transport)[1][2:].decode()
        assert code == (1012).to_bytes(2, "big")
        assert reason.startswith("restart;retry_after_ms=")
        assert world.hub.of(socket.user) == ()
    polite[0].connection_lost(None)
    assert not stubborn[1].aborted
    await asyncio.wait_for(closing, 10)
    assert stubborn[1].aborted


def timers() -> int:
    """How many the loop holds that were not cancelled."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sum(not handle.cancelled() for handle in scheduled)


async def test_however_often_a_token_is_renewed_there_is_one_timer(world: World) -> None:
    world.authenticator.principal_of = lambda token: Principal("alice", int(time.time()) + 40)
    before = timers()
    socket, transport = world.open(expires_in=30)
    auth = client_frame(frames.TEXT, b'{"type":"auth","token":"fresh"}')
    for _ in range(40):
        socket.data_received(auth)
        await turns()
    assert kinds(transport).count("auth_ok") == 40
    assert timers() == before + 1
    world.beat(socket)
    assert timers() == before + 1
    socket.close(1012, "restart")
    assert timers() == before + 1, "for the peer's answer now"
    transport.lose()
    assert timers() == before


async def test_a_renewed_token_is_good_until_its_own_end(world: World) -> None:
    world.authenticator.principal_of = lambda token: Principal("alice", int(time.time()) + 3600)
    socket, transport = world.open(expires_in=1.2)
    socket.data_received(client_frame(frames.TEXT, b'{"type":"auth","token":"fresh","ref":"a"}'))
    assert socket.timer is None
    await turns()
    assert kinds(transport) == ["hello", "a"]


async def test_a_token_that_lives_a_minute_is_not_warned_of_at_once(world: World) -> None:
    """Or a client whose login takes a second would renew it every second."""
    world.authenticator.principal_of = lambda token: Principal("alice", int(time.time()) + 55)
    socket, transport = world.open(expires_in=55)
    for _ in range(5):
        socket.data_received(client_frame(frames.TEXT, b'{"type":"auth","token":"fresh"}'))
        socket.received = True
        world.beat(socket)
        await turns()
    assert "auth_expiring" not in kinds(transport)
    assert socket.timer is not None
    assert socket.timer.when() - asyncio.get_running_loop().time() > 30


async def test_a_warning_is_not_repeated_before_its_floor(world: World) -> None:
    """The login gives out the same token again, which ends soon."""
    principal = Principal("alice", int(time.time()) + 2)
    world.authenticator.principal_of = lambda token: principal
    socket, transport = world.open(expires_in=2)
    await until(lambda: "auth_expiring" in kinds(transport))
    for _ in range(3):
        socket.data_received(client_frame(frames.TEXT, b'{"type":"auth","token":"the same"}'))
        await turns()
    await until(lambda: last_frame(transport)[0] == 8)
    assert kinds(transport).count("auth_expiring") == 1
    assert last_frame(transport)[1][:2] == (4002).to_bytes(2, "big")


async def test_a_user_has_as_many_sockets_as_are_not_gone(world: World) -> None:
    """One that is closing still costs; who opens and closes without end is bounded too."""
    registry = world.registry
    opened = [world.open() for _ in range(4)]
    world.open("bob")
    assert registry.count_of_user("alice") == 4
    opened[0][0].close(1012, "restart")
    opened[1][0].cut("stalled")
    opened[2][0].data_received(client_frame(8))
    assert (len(world.hub.of("alice")), registry.count_of_user("alice")) == (1, 4)
    opened[0][0].cut("shutdown")
    await turns()
    for socket, transport in opened[2:]:
        transport.lose()
        socket.connection_lost(None)
    assert registry.count_of_user("alice") == 0
    assert not registry.closing
    assert registry.count_of_user("bob") == 1


async def test_one_that_resumes_counts_as_well(world: World) -> None:
    socket, _ = world.open("bob", Plan(0, True))
    assert world.registry.count_of_user("bob") == 1
    socket.connection_lost(None)
    assert world.registry.count_of_user("bob") == 0


async def test_a_send_is_recorded_under_its_connection(world: World) -> None:
    named, nameless = world.open(connection_id="c7"), world.open(connection_id="c8", device="")
    for socket, _ in (named, nameless):
        socket.data_received(send("x"))
    assert world.origins == ["phone/c7", "c8"]
    assert named[0].device == "phone"


async def test_a_new_epoch_of_the_log_is_told_to_everybody_who_is_connected(world: World) -> None:
    first, second = world.open("alice")[1], world.open("bob", connection_id="c2")[1]
    world.log.tail.extend([record(at) for at in (5, 9)])
    world.registry.begin_epoch((EpochEntry(1, "e", 0), EpochEntry(2, "later", 5)))
    await turns()
    for transport in (first, second):
        assert texts(transport.wire)[-2:] == [
            {"type": "reset", "epoch": "later", "from": f"{5:016x}"},
            {"type": "gap", "from": f"{5:016x}", "to": f"{9:016x}"},
        ]
    assert texts(world.open("carol", connection_id="c3")[1].wire)[0]["epoch"] == "later"
