"""The command: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from chatsvc_conformance.__main__ import main
from chatsvc_conformance.checks import ALL
from tests.unit.support.http_service import HttpService
from tests.unit.support.in_thread import serving

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def url() -> Iterator[str]:
    """The HTTP side alone: there is no socket behind it."""
    service = HttpService()

    async def start() -> tuple[web.AppRunner, str]:
        runner = await service.start()
        return runner, service.url

    with capture_logs(), serving(start) as url:  # the log goes to standard output too
        yield url


def test_0_where_all_pass(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url, "--only", "health", "--only", "send.created"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["ok", "health.report"],
        ["ok", "health.live"],
        ["ok", "send.created"],
    ]
    assert out.endswith("\n3 passed, 0 failed, 0 skipped\n")


def test_1_where_one_fails_and_it_says_what_came(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([url, "--only", "send.created", "--only", "socket.hello"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^FAIL  socket\.hello .*\n      → GET /ws: ", out, re.M)
    assert out.endswith("\n1 passed, 1 failed, 0 skipped\n")


def test_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([url, "--json", "--only", "socket.hello", "--only", "token.expired"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["passed"], report["failed"], report["skipped"]) == (0, 1, 1)
    skipped, failed = report["checks"]
    assert skipped["name"] == "token.expired"
    assert skipped["result"] == "skipped"
    assert "--secret" in skipped["reason"]
    assert failed["result"] == "fail"
    assert failed["section"] == "From the server"


def test_tokens_may_be_given(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--token", "a=b=token-of-a%3Db", "--token", "c=token-of-c"]
    assert main([url, *given, "--only", "send.one-value", "--only", "read.newest"]) == 1
    out = capsys.readouterr().out
    assert "ok    read.newest" in out
    assert "FAIL  send.one-value" in out  # it needs a socket
    assert main([url, *given, "--only", "deliver.everybody"]) == 0
    assert "needs the tokens of 3 users, has 2" in capsys.readouterr().out


def test_the_secret_may_be_in_a_file(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    # This server takes no signed tokens: what is shown is that they were used.
    assert main([url, "--secret-file", str(path), "--only", "send.created"]) == 1
    assert "401" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "nothing to check at http://127.0.0.1:1"),
        (["localhost:8080"], "must be a URL"),
        (["http://127.0.0.1:1", "--only", "nothing"], "there is no check 'nothing'"),
        (["{url}", "--token", "alice"], "--token is USER=JWT"),
        (["{url}", "--token", "a=1", "--token", "a=2"], "a user is given twice"),
        (["{url}", "--secret-file", "/nowhere/at/all"], "--secret-file: "),
    ],
)
def test_2_and_one_line_where_it_cannot_begin(
    url: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(url=url) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("chatsvc-conformance: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_2_without_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    async def start() -> tuple[web.AppRunner, str]:
        service = HttpService(dev_login=False)
        runner = await service.start()
        return runner, service.url

    with serving(start) as url:
        assert main([url]) == 2
    assert "no tokens" in capsys.readouterr().err


def test_the_list_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        check.name for check in ALL
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "URL must be given"),
        (["--no-such"], "unrecognized arguments: --no-such"),
        (["--timeout", "soon"], "--timeout/--patience: 'soon' must be a number of seconds above 0"),
        (["--patience", "nan"], "--timeout/--patience: 'nan' must be a number of seconds above 0"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"chatsvc-conformance: {error}")
    assert printed.count("\n") == 1
