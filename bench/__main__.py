"""``python -m bench [scenario …]``: run scenarios, print tables, save the figures."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from bench.contenders import PEER_MAKERS, Contender
from bench.options import Options
from bench.processes import Failed
from bench.report import Figures, tables
from bench.scenarios import (
    durable,
    fanout,
    group_fanout,
    groups,
    history,
    hostile,
    hostile_sockets,
    hostile_store,
    idle,
    restart,
    store,
)
from chatsvc.arguments import OneLineParser, positive

SCENARIOS: dict[str, Callable[[Options, Figures], Coroutine[Any, Any, None]]] = {
    "fanout": fanout.run,
    "durable": durable.run,
    "idle": idle.run,
    "history": history.run,
    "restart": restart.run,
    "store": store.run,
    "groups": groups.run,
    "group-fanout": group_fanout.run,
    "hostile": hostile.run,
    "hostile-sockets": hostile_sockets.run,
    "hostile-store": hostile_store.run,
}


def main() -> int:
    """Run every scenario three times, or what the arguments name."""
    parser = OneLineParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--repeat", type=positive, default=3, help="runs of each (3)")
    parser.add_argument(
        "--peers", type=_peer_names, default=",".join(PEER_MAKERS), help="of %(default)s; or none"
    )
    parser.add_argument("--sockets", type=positive, default=Options.sockets, help="in a fan-out")
    parser.add_argument("--people", type=positive, default=Options.people, help="who share them")
    parser.add_argument(
        "--frame-bytes", type=positive, default=0, help="of a frame of a fan-out, at least"
    )
    parser.add_argument("--idle", type=positive, default=Options.idle, help="idle sockets")
    parser.add_argument("--entries", type=positive, default=Options.entries, help="in the long log")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many requests")
    parser.add_argument("--log-level", default="info", help="of the service (info)")
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="measure its chatsvc beside this one"
    )
    parser.add_argument("--folder", type=Path, help="whose disk is measured (the system's /tmp)")
    parser.add_argument("--json", type=Path, help="where to keep every figure")
    arguments = parser.parse_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"scenario: there is no {', '.join(sorted(unknown))}")
    figures = Figures()
    try:
        options = _options(arguments)
        for number in range(arguments.repeat):
            for name in arguments.scenarios or SCENARIOS:
                print(f"run {number + 1} of {arguments.repeat}: {name}", file=sys.stderr)
                uvloop.run(SCENARIOS[name](options, figures))
    except Failed as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    print(f"{platform.machine()}, Python {platform.python_version()}, {_model()}\n")
    print(tables(figures.all()))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        kept = [figure._asdict() for figure in figures.all()]
        arguments.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False))
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    usual = Options()
    scale = arguments.scale
    return Options(
        sockets=arguments.sockets,
        people=arguments.people,
        frame_bytes=arguments.frame_bytes,
        publishes=_scaled(usual.publishes, scale),
        sends=_scaled(usual.sends, scale),
        idle=arguments.idle,
        pages=max(1, int(usual.pages * scale)),
        entries=arguments.entries,
        stored=max(1000, int(usual.stored * scale)),
        peers=_peers(arguments.peers),
        log_level=arguments.log_level,
        against=arguments.against,
        folder=arguments.folder,
    )


def _scaled(counts: dict[int, int], scale: float) -> dict[int, int]:
    return {at_once: max(at_once, int(count * scale)) for at_once, count in counts.items()}


def _peer_names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name not in {"", "none"}]
    unknown = set(names) - set(PEER_MAKERS)
    if unknown:
        known = ", ".join(PEER_MAKERS)
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} must be of {known}")
    return names


def _peers(names: list[str]) -> tuple[Contender, ...]:
    """Return the contenders that can run here; print the names of the others."""
    found: list[Contender] = []
    for name in names:
        try:
            found.append(PEER_MAKERS[name]())
        except Failed as exc:
            print(f"bench: without {name}: {exc}", file=sys.stderr)
    return tuple(found)


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "processor unknown"


if __name__ == "__main__":
    sys.exit(main())
