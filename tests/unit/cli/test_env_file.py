"""Files of variables: read as others read them, below the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatsvc.cli import main
from chatsvc.cli.env_file import MAX_BYTES, read_env_file
from chatsvc.core.errors import ConfigurationError
from testkit.process import ROOT

Captured = pytest.CaptureFixture[str]


def read(folder: Path, text: str | bytes) -> dict[str, str]:
    path = folder / ".env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_env_file(path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("  export A=b", "b"),
        ("A=", ""),
        ("A=b c", "b c"),
        ("A=b # comment", "b"),
        ("A=b#c", "b#c"),
        ("A=# comment", ""),
        ("A='b # c'", "b # c"),
        ("A='b' # comment", "b"),
        ('A="b # c"  ', "b # c"),
        (r'A="b\nc\t\"d\" \\n \$e \x"', 'b\nc\t"d" \\n $e \\x'),
        (r"A='b\nc'", r"b\nc"),
        ("A='b\nc'", "b\nc"),
        ('A="b\n# no comment\nc"', "b\n# no comment\nc"),
        ("A=$B ${C}", "$B ${C}"),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ("A=ü", "ü"),
    ],
)
def test_a_value(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, line) == {"A": value}
    assert read(tmp_path, f"# before\n\nB=1\r\n{line}\nC=2") == {"B": "1", "A": value, "C": "2"}


def test_nothing_and_comments(tmp_path: Path) -> None:
    assert read(tmp_path, "") == {}
    assert read(tmp_path, "\ufeff# with a byte order mark\n\n   \n  # indented\n") == {}


def test_the_last_of_two_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "A=1\nA=2\n") == {"A": "2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nhunter2\n", ":2: the line must be NAME=value"),
        ("A=1\n\n=hunter2\n", ":3: the line must be NAME=value"),
        ("1A=hunter2", ":1: the line must be NAME=value"),
        ("A-B=hunter2", ":1: the line must be NAME=value"),
        ("A='hunter2\n\n", ":1: the line must have a closing '"),
        ('B=1\nA="hunter2\\"\n', ':2: the line must have a closing "'),
        ("A='1' hunter2", ":1: the line must end after the closing '"),
        ("A='1'hunter2'", ":1: the line must end after the closing '"),
        (b"A=\xff", "must be UTF-8"),
        ("A=\0", "NUL"),
        ("#" * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line_and_not_shown(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("--env-file: ")
    assert said in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_a_file_that_is_not_there(folder: Path, capsys: Captured) -> None:
    assert main(["config", "--env-file", "nowhere"]) == 2
    assert "--env-file: cannot read nowhere: No such file" in capsys.readouterr().err


def test_every_line_of_the_example_can_be_used(folder: Path, capsys: Captured) -> None:
    text = (ROOT / ".env.example").read_text()
    set_lines = [line.removeprefix("#") for line in text.splitlines() if "=" in line]
    (folder / "all").write_text("\n".join(line for line in set_lines if line[:1].isupper()))
    assert main(["config", "--env-file", "all"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["PORT", "8080", "all"] in rows


def test_the_environment_is_before_the_file_and_flags_before_both(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text("PORT=1\nMAX_CONTENT=2\nHOST=::1\nMAX_USER_ID=3\nMONGODB_URI=x\n")
    monkeypatch.setenv("MAX_CONTENT", "20")
    monkeypatch.setenv("MAX_USER_ID", "")
    assert main(["config", "--env-file", ".env", "--port", "10"]) == 0
    captured = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:] for line in captured.out.splitlines()}
    assert rows["PORT"] == ["10", "--port"]
    assert rows["MAX_CONTENT"] == ["20", "environment"]
    assert rows["HOST"] == ["::1", ".env"]
    assert rows["MAX_USER_ID"] == ["3", ".env"], "an empty variable counts as unset"
    assert "MONGODB_URI is set but not read; MONGO_URI is read" in captured.err


def test_it_is_not_read_unasked(folder: Path, capsys: Captured) -> None:
    (folder / ".env").write_text("PORT=1\n")
    assert main(["config"]) == 0
    assert "8080" in capsys.readouterr().out
