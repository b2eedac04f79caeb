"""``python -m demo_cli``: the interactive menu, or one command of the scriptable form."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Sequence

from demo_cli.arguments import parse
from demo_cli.exits import Exit, Failure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        The exit status, one of :class:`demo_cli.exits.Exit`.
    """
    _open_missing_streams()
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()  # here, where a reader that went away can be dealt with
    except BrokenPipeError:
        # What is left in the buffer would be an error again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.CLOSED_PIPE


def _run(argv: Sequence[str]) -> int:
    arguments = parse(argv)
    try:
        if arguments.command is None:
            return asyncio.run(_menu(arguments.url, arguments.token, arguments.user))
        from demo_cli.commands import run

        return asyncio.run(run(arguments))
    except Failure as failure:
        print(f"chatsvc-demo: {failure}", file=sys.stderr)
        return failure.exit
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _open_missing_streams() -> None:
    """Replace streams that were closed before the start: Python has ``None`` for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


async def _menu(url: str, token: str | None, user: str | None) -> int:
    missing = [name for name in ("prompt_toolkit", "rich") if not importlib.util.find_spec(name)]
    if missing:
        raise Failure(
            f"the menu needs {' and '.join(missing)}: pip install 'chatsvc[demo]'", Exit.USAGE
        )
    from demo_cli.menu import Menu
    from demo_cli.prompting import lines_for
    from demo_cli.screen import Screen

    screen = Screen()
    with lines_for(sys.stdin, sys.stdout) as lines:
        return await Menu(url, token, user, lines=lines, screen=screen).run()


if __name__ == "__main__":
    sys.exit(main())
