"""Judges what only the whole recording can show."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from tests.fault.kit.known import Known, Listener, Message, id_of, must_get
from tests.fault.kit.verdict import Fault, Verdict


def judge_refused(known: Known, verdict: Verdict) -> None:
    """What was refused for good is given to nobody."""
    for message in known.messages.values():
        refused_for_good = message.refused and not message.open_attempts and not message.acked
        if refused_for_good and message.id is not None:
            verdict.add(
                Fault.NEVER_SENT,
                f"{message.key} was refused, and given out as {message.id:016x}",
                message.known_line,
            )


def judge_reads(known: Known, verdict: Verdict) -> None:
    """A read holds what was known before it began."""
    by_channel, by_user = known.accepted()
    for read in known.reads:
        candidates = by_user[read.user] if read.channel is None else by_channel[read.channel]
        first = bisect_right(candidates, read.low, key=id_of)
        last = bisect_left(candidates, read.high, key=id_of)
        for message in candidates[first:last]:
            if message.known_at < read.began and message.id not in read.ids:
                verdict.add(
                    Fault.STALE_READ,
                    f"{read.user} did not find {message.id:016x}, known since line "
                    f"{message.known_line}",
                    read.line,
                )


def judge_histories(known: Known, verdict: Verdict) -> None:
    """What was accepted is in the histories read at the end."""
    by_channel, by_user = known.accepted()
    sought: set[int] = set()
    lost: set[int] = set()
    for read in known.histories:
        expected = by_user[read.user] if read.channel is None else by_channel[read.channel]
        for message in expected:
            if message.id is None or message.known_at >= read.began:
                continue
            sought.add(message.id)
            if message.id not in read.ids and message.id not in lost:
                lost.add(message.id)
                how = "acknowledged" if message.acked else "given out"
                verdict.add(
                    Fault.LOST,
                    f"{message.key} {message.id:016x} was {how} (line {message.known_line}) "
                    f"and is not in the history that {read.user} read at the end",
                    read.line,
                )
    for channel, messages in by_channel.items():
        unsought = sum(message.id not in sought for message in messages)
        if unsought:
            verdict.open_ends.append(
                f"nobody read the history of {channel} after {unsought} of its messages"
            )


def judge_listeners(known: Known, verdict: Verdict) -> None:
    """A listener was given all that was for it, or told of a gap."""
    _, by_user = known.accepted()
    for listener in known.listeners.values():
        if listener.settled is None:
            verdict.open_ends.append(f"{listener.name} did not settle")
        if listener.start is None:
            continue
        end = max(listener.position, listener.settled or 0)
        unfetched = 0
        for message in by_user[listener.user]:
            message_id = message.id
            if message_id is None or not listener.start < message_id <= end:
                continue
            if not must_get(listener, message) or message_id in listener.received:
                continue
            unfetched += _judge_missing(verdict, listener, message, message_id)
        if unfetched:
            verdict.open_ends.append(
                f"{listener.name} did not fetch {unfetched} messages of announced gaps"
            )


def _judge_missing(verdict: Verdict, listener: Listener, message: Message, message_id: int) -> bool:
    """A message that a listener was not given; whether an unfetched gap covers it."""
    fetched = [ids for low, high, ids in listener.fetched if low < message_id <= high]
    if any(message_id in ids for ids in fetched):
        return False
    if fetched:
        verdict.add(
            Fault.LOST,
            f"{listener.name} fetched a gap around {message.key} {message_id:016x} "
            "and did not find it",
            message.known_line,
        )
        return False
    if any(low < message_id <= high for low, high in listener.gaps):
        return True
    verdict.add(
        Fault.SILENT_GAP,
        f"{listener.name} never got {message.key} {message_id:016x} "
        f"(known since line {message.known_line})",
        message.known_line,
    )
    return False


def count(known: Known, verdict: Verdict) -> None:
    """Totals for whoever reads the verdict."""
    totals = verdict.totals
    totals["messages sent"] = sum(
        message.first_invoked is not None for message in known.messages.values()
    )
    totals["messages acknowledged"] = sum(m.acked for m in known.messages.values())
    totals["messages accepted"] = len(known.by_id)
    totals["messages undecided"] = sum(
        m.id is None and not m.refused for m in known.messages.values()
    )
