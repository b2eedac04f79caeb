from __future__ import annotations

import pytest

from demo_cli.arguments import DEFAULT_URL, default_url, names_with_spaces, parse, split_users


def test_without_a_command_it_is_the_menu() -> None:
    arguments = parse([])
    assert (arguments.command, arguments.url, arguments.token, arguments.user) == (
        None, DEFAULT_URL, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "argv",
    [
        ["--url", "http://h", "--user", "a", "send", "a, b,a", "hi"],
        ["send", "a, b,a", "hi", "--url", "http://h", "--user", "a"],
    ],
)
def test_common_options_stand_before_or_after_the_command(argv: list[str]) -> None:
    arguments = parse(argv)
    assert (arguments.url, arguments.user) == ("http://h", "a")
    assert (arguments.participants, arguments.text) == (["a", "b"], "hi")
    assert arguments.client_id is None, "the client makes one, by the server's time"


def test_the_environment_is_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATSVC_TOKEN", "from-environment")
    monkeypatch.setenv("CHATSVC_URL", "http://env")
    assert parse(["who", "a"]).token == "from-environment"
    assert parse(["who", "a"]).url == "http://env"
    assert parse(["who", "a", "--token", "given"]).token == "given"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, DEFAULT_URL),
        ({"PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"HOST": "chat.example", "PORT": "9000"}, "http://chat.example:9000"),
        ({"HOST": "chat.example"}, "http://chat.example:8080"),
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"HOST": "::", "PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"HOST": "::1", "PORT": "9000"}, "http://[::1]:9000"),
        ({"HOST": "", "PORT": ""}, DEFAULT_URL),
        ({"CHATSVC_URL": "https://h", "PORT": "9000"}, "https://h"),
    ],
)
def test_the_server_is_the_one_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str
) -> None:
    for name in ("CHATSVC_URL", "HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_url(environment) == url
    assert parse([]).url == url
    assert parse(["--url", "http://given"]).url == "http://given"


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["shout"], "COMMAND: invalid choice: 'shout'"),
        (["send", "a"], "the following arguments are required: text"),
        (["send", " , ", "hi"], "participants: ' , ' must have at least one user id"),
        (["listen", "--count", "0"], "--count: '0' must be a whole number above 0"),
        (["listen", "--timeout", "-1"], "--timeout: '-1' must be a number of seconds above 0"),
        (["listen", "--timeout", "inf"], "--timeout: 'inf' must be a number of seconds above 0"),
        (["history", "a", "--limit", "many"], "--limit: 'many' must be a whole number above 0"),
        (["history", "a", "--before", "1", "--after", "2"], "--after: not allowed with"),
        (["--no-such"], "unrecognized arguments: --no-such"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(
    argv: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    program, _, text = printed.partition(": ")
    assert program.startswith("chatsvc-demo")
    assert text.startswith(error)
    assert printed.count("\n") == 1


def test_users() -> None:
    assert split_users("bob, alice ,,bob") == ["bob", "alice"]
    assert split_users(" ") == []


def test_names_with_spaces() -> None:
    assert names_with_spaces(["a b", "c", "d\te"]) == ["a b", "d\te"]
    assert names_with_spaces(["a b", "c d"], ["a b"]) == ["c d"]
