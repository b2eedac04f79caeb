"""Reading lines that a user types, while other lines appear above them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Lines(Protocol):
    """Asks for lines."""

    async def ask(self, prompt: str) -> str:
        """Return one line, without its end.

        Raises:
            EOFError: there are no more.
            KeyboardInterrupt: the user pressed Ctrl-C.
        """


class _Terminal:
    """prompt_toolkit keeps the line that is being typed below what is printed meanwhile."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession

        self._session: PromptSession[str] = PromptSession()

    async def ask(self, prompt: str) -> str:
        return await self._session.prompt_async(prompt)


class _Pipe:
    """Plain lines: from a file or another program."""

    def __init__(self, source: TextIO, out: TextIO) -> None:
        self._source = source
        self._out = out

    async def ask(self, prompt: str) -> str:
        self._out.write(prompt)
        self._out.flush()
        line = await asyncio.to_thread(self._source.readline)
        self._out.write("\n")
        if not line:
            raise EOFError
        return line.rstrip("\n")


@contextmanager
def lines_for(source: TextIO, out: TextIO) -> Iterator[Lines]:
    """Choose how to read lines: with an editor on a terminal, plainly otherwise.

    On a terminal standard output is patched, so that what is printed appears above.
    """
    if not (source.isatty() and out.isatty()):
        yield _Pipe(source, out)
        return
    from prompt_toolkit.patch_stdout import patch_stdout

    with patch_stdout(raw=True):
        yield _Terminal()
