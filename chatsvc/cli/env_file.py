"""Files of variables (``.env``), as Docker Compose and systemd read them.

Each line is ``NAME=value``, with an optional ``export`` before it, or a ``#`` comment. A value
in single quotes is literal; in double quotes ``\\n``, ``\\t``, ``\\"``, ``\\$`` and ``\\\\`` are
escapes. Both may span lines. Variables are not expanded: ``$NAME`` is literal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from chatsvc.core.errors import ConfigurationError

MAX_BYTES: Final = 1024 * 1024

_NAME: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_QUOTED: Final = {
    "'": re.compile(r"'([^']*)'"),
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
}
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file; the last value wins if a name is repeated.

    Raises:
        ConfigurationError: the file or a line of it cannot be read; names the line.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"--env-file: cannot read {path}: {exc.strerror}") from exc
    if len(raw) > MAX_BYTES:
        raise ConfigurationError(f"--env-file: {path} must have at most {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"--env-file: {path} must be UTF-8 text") from None
    if "\0" in text:
        raise ConfigurationError(f"--env-file: {path} must not contain a NUL")
    return _parse(text, path)


def _parse(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].strip()
        if not line or line.startswith("#"):
            position = end + 1
            continue
        start = position + len(text[position:end]) - len(text[position:end].lstrip())
        match = _NAME.match(text, start, end)
        if match is None:
            raise _bad(path, text, start, "must be NAME=value")
        name, start = match[1], match.end()
        quote = text[start : start + 1]
        if quote not in _QUOTED or start == end:
            found[name] = _COMMENT.sub("", text[start:end]).strip()
            position = end + 1
            continue
        value = _QUOTED[quote].match(text, start)
        if value is None:
            raise _bad(path, text, start, f"must have a closing {quote}")
        rest = _REST.match(text, value.end())
        if rest is None:
            raise _bad(path, text, value.end(), f"must end after the closing {quote}")
        found[name] = value[1] if quote == "'" else _ESCAPE.sub(_unescaped, value[1])
        position = rest.end()
    return found


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])


def _bad(path: Path, text: str, position: int, rule: str) -> ConfigurationError:
    """Return an error that names the line but not its content, which may be a secret."""
    number = text.count("\n", 0, position) + 1
    return ConfigurationError(f"--env-file: {path}:{number}: the line {rule}")
