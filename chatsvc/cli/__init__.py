"""The command line. Exit status: 0 done, 1 not done, 2 cannot be done as asked or configured.

Each command imports what it needs when it runs, so that ``--version`` and
``healthcheck`` start quickly.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from chatsvc import __version__

_PRIVATE: Final = 0o077
"""The umask: nothing for group and others."""
_DESCRIPTION: Final = """\
A self-hosted chat backend for applications that already have users.
Settings are environment variables: `chatsvc config` lists them all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    What a person can mend is one line on standard error: a setting, a port that is
    taken, a folder in use, files of a newer version, a damaged log, a store that is away.
    Whatever files a command makes are readable by their owner alone.
    """
    _fill_standard_streams()
    before = os.umask(_PRIVATE)
    try:
        return _run(argv)
    finally:
        os.umask(before)


def _fill_standard_streams() -> None:
    """Open what the parent has closed of descriptors 0 to 2: a file that is opened there
    would get what is written to standard error, and such a file may be the log."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)

    from chatsvc.core.errors import (
        ConfigurationError,
        LogDamaged,
        Unavailable,
        VersionTooNew,
    )

    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except (ConfigurationError, LogDamaged, VersionTooNew) as exc:
        return _complain(str(exc), 2)
    except Unavailable as exc:
        return _complain(exc.detail, 1)
    except BrokenPipeError:
        # Whoever read our output has enough of it. What is left must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"chatsvc: {' '.join(text.split())}\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatsvc",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chatsvc {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    env = argparse.ArgumentParser(add_help=False)
    env.add_argument(
        "--env-file", metavar="PATH", help="a file of variables; the environment is before it"
    )
    data = argparse.ArgumentParser(add_help=False, parents=[env])
    data.add_argument("--data-dir", metavar="PATH", help="instead of DATA_DIR")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument("--store", metavar="STORE", help="instead of STORE: auto, mongodb or sqlite")
    listen = argparse.ArgumentParser(add_help=False)
    listen.add_argument("--host", metavar="ADDRESS", help="instead of HOST")
    listen.add_argument("--port", metavar="N", help="instead of PORT; 0 takes a free one")

    serve = commands.add_parser("serve", parents=[listen, data, store], help="run the service")
    serve.set_defaults(run=_serve)
    dev = commands.add_parser(
        "dev",
        parents=[listen, data, store],
        help="run it on this machine alone, with tokens for whoever asks",
    )
    dev.add_argument(
        "--reload", action="store_true", help="start again when the program's source changes"
    )
    dev.set_defaults(run=_dev)

    token = commands.add_parser("token", parents=[data], help="print a token for a user")
    token.add_argument("user", metavar="USER")
    token.add_argument("--ttl", default="1h", metavar="TIME", help="90, 15m, 1h (default), 30d")
    token.set_defaults(run=_token)

    config = commands.add_parser(
        "config",
        parents=[listen, data, store],
        help="show every setting, its value and where it came from",
    )
    config.add_argument(
        "--check", action="store_true", help="only say whether `chatsvc serve` would start"
    )
    config.set_defaults(run=_config)

    migrate = commands.add_parser(
        "migrate", parents=[data, store], help="bring the log and the store to this version"
    )
    migrate.add_argument(
        "--check", action="store_true", help="only say what there is to do; 1 if anything"
    )
    migrate.set_defaults(run=_migrate)

    backup = commands.add_parser(
        "backup", parents=[data, store], help="copy log and store, while the service runs or not"
    )
    backup.add_argument("dir", metavar="DIR", help="a folder that does not exist yet")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore", parents=[data, store], help="put a backup back; the service must be stopped"
    )
    restore.add_argument("dir", metavar="DIR", help="what `chatsvc backup` has made")
    restore.add_argument(
        "--force", action="store_true", help="move the files that are in DATA_DIR aside"
    )
    restore.set_defaults(run=_restore)

    _add_dead_letters(commands, [data, store])
    _add_log(commands, [data, store])

    health = commands.add_parser(
        "healthcheck", parents=[env], help="ask a running service whether it lives"
    )
    health.add_argument("--url", help="instead of http://127.0.0.1:PORT")
    health.set_defaults(run=_healthcheck)
    return parser


def _add_dead_letters(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    parents: list[argparse.ArgumentParser],
) -> None:
    letters = commands.add_parser(
        "dead-letters", help="what could not be stored; may be used while the service runs"
    )
    actions = letters.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", parents=parents, help="one a line, oldest first")
    listing.set_defaults(action="list")
    show = actions.add_parser("show", parents=parents, help="all that is known of one, as JSON")
    show.add_argument("id", metavar="ID")
    show.set_defaults(action="show")
    replay = actions.add_parser("replay", parents=parents, help="store it now; then it is gone")
    replay.add_argument("ids", nargs="*", metavar="ID")
    replay.add_argument("--all", action="store_true", help="every one there is")
    replay.set_defaults(action="replay")
    drop = actions.add_parser("drop", parents=parents, help="remove for good")
    drop.add_argument("ids", nargs="+", metavar="ID")
    drop.set_defaults(action="drop")
    for action in (listing, show, replay, drop):
        action.set_defaults(run=_dead_letters)


def _add_log(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    parents: list[argparse.ArgumentParser],
) -> None:
    log = commands.add_parser("log", help="the log on disk; the service must be stopped")
    actions = log.add_subparsers(title="actions", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", parents=parents, help="whether it is what was written")
    verify.add_argument(
        "--quarantine", action="store_true", help="move bad records to the dead letters"
    )
    verify.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on without what cannot be read; a copy is kept, and a new epoch begins",
    )
    verify.set_defaults(run=_log_verify)


def _serve(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.serving import serve

    return serve(arguments)


def _dev(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.serving import dev

    return dev(arguments)


def _token(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.token import token

    return token(arguments)


def _config(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.config import config

    return config(arguments)


def _log_verify(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.log import log_verify

    return log_verify(arguments)


def _migrate(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.migrate import migrate

    return migrate(arguments)


def _backup(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.backup import backup

    return backup(arguments)


def _restore(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.restore import restore

    return restore(arguments)


def _dead_letters(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.dead_letters import dead_letters

    return dead_letters(arguments)


def _healthcheck(arguments: argparse.Namespace) -> int:
    from chatsvc.cli.healthcheck import healthcheck

    return healthcheck(arguments)
