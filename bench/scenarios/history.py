"""Reading history: CPU for a page of 100, from memory and from the store."""

from __future__ import annotations

from itertools import repeat

from bench import http_load
from bench.contenders import Contender, people, send_request, token
from bench.options import Options
from bench.report import Figures, micros_per
from bench.scenarios.durable import stored

_MESSAGES = 20_000
_AT_ONCE = 8
_LIMIT = 100


async def run(options: Options, figures: Figures) -> None:
    """A conversation of 20,000 messages; its newest page, and its oldest.

    The peers answer with the same number of bytes.
    """
    scenario = f"A page of {_LIMIT} messages: CPU each"
    size = 0
    for own in options.services:
        size = max(size, await _pages(options, figures, scenario, own))
    for peer in options.peers:
        with options.temporary() as folder, peer.run(folder, options.cores.server) as server:
            page = http_load.request("GET", f"/page?bytes={size}", {})
            await http_load.run(server.port, repeat(page, 50), at_once=_AT_ONCE)
            before = server.cpu()
            await http_load.run(server.port, repeat(page, options.pages), at_once=_AT_ONCE)
            spent = micros_per(server.cpu() - before, options.pages)
            figures.add(scenario, peer.name, "as many bytes", "µs", spent)


async def _pages(options: Options, figures: Figures, scenario: str, own: Contender) -> int:
    """Measure both pages of one service; return the size of the larger response."""
    to = people(1)
    size = 0
    with options.temporary() as folder, own.run(folder, options.cores.server) as server:
        messages = min(_MESSAGES, options.pages * 10)
        await http_load.run(server.port, repeat(send_request(to), messages), at_once=64)
        await stored(server)
        channel = ",".join(sorted(["sender", *to]))
        for what, bound in (
            ("newest, from memory", ""),
            ("oldest, from the store", f"&after={0:016x}"),
        ):
            page = http_load.request(
                "GET",
                f"/api/messages/get?channel={channel}&limit={_LIMIT}{bound}",
                {"Authorization": f"Bearer {token('sender')}"},
            )
            await http_load.run(server.port, repeat(page, 50), at_once=_AT_ONCE)
            before = server.cpu()
            load = await http_load.run(server.port, repeat(page, options.pages), at_once=_AT_ONCE)
            spent = micros_per(server.cpu() - before, options.pages)
            size = max(size, load.size)
            figures.add(scenario, own.name, what, "µs", spent)
    return size
