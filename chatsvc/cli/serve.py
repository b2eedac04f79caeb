"""``chatsvc serve``: run the service."""

from __future__ import annotations

import argparse

from chatsvc.arguments import OneLineParser
from chatsvc.cli.options import add_data, add_listen, add_store, settings_from, variables
from chatsvc.cli.serving import run_service


def add_arguments(parser: OneLineParser) -> None:
    """Add the arguments of the command."""
    add_listen(parser)
    add_data(parser)
    add_store(parser)
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP."""
    return run_service(settings_from(arguments), variables(arguments), None)
