from __future__ import annotations

import io
import subprocess
import sys

import pytest

from demo_cli.__main__ import main
from demo_cli.prompting import lines_for


def test_without_the_extra_it_says_how_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([]) == 2
    err = capsys.readouterr().err
    assert "pip install 'chatsvc[demo]'" in err
    assert len(err.splitlines()) == 1


def test_a_failure_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["who", "bob", "--user", "a", "--url", "nonsense"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("chatsvc-demo: --url: the URL must begin with http:// or https://")
    assert len(err.splitlines()) == 1


def test_as_a_module_it_is_a_program_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo_cli", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: chatsvc-demo")


async def test_lines_from_a_pipe() -> None:
    out = io.StringIO()
    with lines_for(io.StringIO("one\ntwo"), out) as lines:
        assert [await lines.ask("> "), await lines.ask("> ")] == ["one", "two"]
        with pytest.raises(EOFError):
            await lines.ask("> ")
    assert out.getvalue() == "> \n> \n> \n"
