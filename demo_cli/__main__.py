"""``python -m demo_cli``: the interactive menu, or one command of the scriptable form."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Sequence

from chatsvc.console import open_streams, run_program
from demo_cli.arguments import parse
from demo_cli.exits import Exit, Failure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        The exit status, one of :class:`demo_cli.exits.Exit`.
    """
    open_streams()
    arguments = sys.argv[1:] if argv is None else argv
    return run_program(lambda: _run(arguments), "chatsvc-demo", closed_pipe=Exit.CLOSED_PIPE)


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
