"""``chatsvc projections``: rows that are folded from records. May run beside the service."""

from __future__ import annotations

import argparse
import asyncio

from chatsvc import logs
from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_data, add_store, print_line, settings_from, warn_of_near_misses
from chatsvc.cli.stores import existing_store
from chatsvc.core.errors import ConfigurationError
from chatsvc.core.ids import format_id
from chatsvc.core.projection import NO_PROJECTIONS, Projection, Projections
from chatsvc.settings.table import Settings
from chatsvc.storage.ports.message_store import MessageStore
from chatsvc.storage.ports.projections import KeptProjection
from chatsvc.storage.projections.progress import progress_from


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    add_store(parser)
    parser.set_defaults(run=projections, name=None)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", parser_class=OneLineParser)
    rebuild = actions.add_parser(
        "rebuild",
        help="drop the rows of a projection, and build them again from the store's records",
        argument_default=argparse.SUPPRESS,  # what stands before the action stays
    )
    add_data(rebuild)
    add_store(rebuild)
    rebuild.add_argument("name", metavar="NAME")


def projections(arguments: argparse.Namespace) -> int:
    """List the projections, or begin one anew.

    Returns:
        0.

    Raises:
        ConfigurationError: there is no such projection, or no store.
        StoreUnavailable: the store does not answer.
    """
    settings = settings_from(arguments)
    warn_of_near_misses(arguments)
    logs.configure(settings)
    from chatsvc.app.features import known_projections

    known = known_projections()
    if arguments.name is None:
        asyncio.run(_list(settings, known))
    else:
        asyncio.run(_rebuild(settings, _named(known, arguments.name)))
    return 0


def _named(known: Projections, name: str) -> Projection:
    if name not in known.names:
        there_are = ", ".join(sorted(known.names)) or "none"
        raise ConfigurationError(f"NAME: there is no projection {name!r}; there are: {there_are}")
    return known[name]


async def _list(settings: Settings, known: Projections) -> None:
    # Opened with projections, it would begin those anew that this program declares otherwise.
    async with existing_store(settings, NO_PROJECTIONS) as store:
        kept = await store.projections.kept()
        for one in sorted(known, key=lambda one: one.name):
            print_line(await _line(store, one, kept.get(one.name)))


async def _line(store: MessageStore, projection: Projection, kept: KeptProjection | None) -> str:
    name = f"{projection.name}  version {projection.version}"
    if kept is None or kept.declared != projection.declared:
        return f"{name}  not begun"
    progress = await progress_from(store, kept.position)
    state = "building" if progress.is_behind else "live"
    behind = f"{round(progress.seconds_behind)} s behind {format_id(progress.watermark)}"
    return f"{name}  {state}  {format_id(progress.position)}  {behind}"


async def _rebuild(settings: Settings, projection: Projection) -> None:
    name = projection.name
    async with existing_store(settings, NO_PROJECTIONS) as store:
        kept = (await store.projections.kept()).get(name)
    if kept is None or kept.declared != projection.declared:
        raise ConfigurationError(
            f"NAME: the store has no rows of {name!r} as this program declares it; "
            "a service of this version builds them when it starts"
        )
    async with existing_store(settings, Projections([projection])) as store:
        await store.projections.begin_anew(name)
    print_line(f"{name}  begun anew: the service builds it, while it runs or when it starts")
