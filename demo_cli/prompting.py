"""Reading lines that a user types, while other lines appear above them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from demo_cli.line_reader import LineReader


class Lines(Protocol):
    """Asks for lines."""

    async def ask(self, prompt: str) -> str:
        """Return one line, without its end.

        Raises:
            EOFError: there are no more.
            KeyboardInterrupt: the user pressed Ctrl-C.
        """


class _Checked:
    """Asks again for a line that is not text: what is typed in another encoding."""

    def __init__(self, lines: Lines, out: TextIO) -> None:
        self._lines = lines
        self._out = out

    async def ask(self, prompt: str) -> str:
        while True:
            try:
                line = await self._lines.ask(prompt)
                line.encode()  # a terminal's input is decoded with surrogates (PEP 383)
            except UnicodeError:
                self._out.write("The input must be text of the terminal's encoding.\n")
            else:
                return line


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
        self._reader = LineReader(source)
        self._out = out

    async def ask(self, prompt: str) -> str:
        self._out.write(prompt)
        self._out.flush()
        line = await self._reader.readline()
        self._out.write("\n")
        if line is None:
            raise EOFError
        return line


@contextmanager
def lines_for(source: TextIO, out: TextIO) -> Iterator[Lines]:
    """Choose how to read lines: with an editor on a terminal, plainly otherwise.

    On a terminal standard output is patched, so that what is printed appears above.
    """
    if not (source.isatty() and out.isatty()):
        yield _Checked(_Pipe(source, out), out)
        return
    from prompt_toolkit.patch_stdout import patch_stdout

    with patch_stdout(raw=True):
        yield _Checked(_Terminal(), out)
