"""``chatsvc config``: all of it, and nothing secret."""

from __future__ import annotations

import pytest

from chatsvc.cli import main
from chatsvc.settings.table import TABLE

Captured = pytest.CaptureFixture[str]


def table(capsys: Captured, *argv: str) -> dict[str, tuple[str, str]]:
    """Name → value and source, as printed."""
    assert main(["config", *argv]) == 0
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        name, rest = line.split(maxsplit=1)
        value, source = rest.split("  ", 1)
        rows[name] = (value.strip(), source.strip())
    return rows


def test_every_setting_in_the_order_of_the_table(capsys: Captured) -> None:
    rows = table(capsys)
    assert list(rows) == [row.name for row in TABLE]
    assert rows["PORT"] == ("8080", "default")
    assert rows["JWT_SECRET"] == ("-", "default")
    assert rows["CONNECTIONS_REQUIRE_AUTH"] == ("false", "default")
    assert rows["STORE"] == ("auto (sqlite)", "default")
    assert rows["JWT_LEEWAY_SECONDS"] == ("10", "default")


def test_what_is_decided_at_the_start_is_shown_as_it_is_written(capsys: Captured) -> None:
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [one for one in lines if one.startswith("MAX_HTTP_CONNECTIONS_PER_ADDRESS")]
    assert line.split()[1:] == ["auto", "default"]


def test_where_each_came_from(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONTENT", "99")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("JWT_AUDIENCE", "a,b")
    rows = table(capsys, "--port", "2", "--data-dir", "/x", "--store", "sqlite", "--host", "::1")
    assert rows["MAX_CONTENT"] == ("99", "environment")
    assert rows["PORT"] == ("2", "--port")
    assert rows["DATA_DIR"] == ("/x", "--data-dir")
    assert rows["STORE"] == ("sqlite", "--store")
    assert rows["HOST"] == ("::1", "--host")
    assert rows["JWT_AUDIENCE"] == ("a,b", "environment")


def test_secrets_are_masked(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in TABLE:
        if row.secret:
            monkeypatch.setenv(row.name, "hunter2" * 8)
    monkeypatch.setenv("MONGO_URI", "mongodb://chat:hunter2@db.example.org/?authSource=admin")
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    assert "hunter2" not in text
    assert "mongodb://chat:***@db.example.org/?authSource=admin" in text


def test_a_long_value_moves_no_other_column(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\n" + "A" * 400)
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(TABLE)
    assert all(len(line) < 100 for line in lines if not line.startswith("JWT_PUBLIC_KEY "))


def test_an_unusable_value(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    assert main(["config"]) == 2
    assert capsys.readouterr().err.startswith("chatsvc: PORT: 'http' must be a whole number")


def test_an_unusable_flag_names_the_variable(capsys: Captured) -> None:
    assert main(["config", "--store", "oracle"]) == 2
    assert "STORE: 'oracle'" in capsys.readouterr().err


def test_near_misses_are_warned_of(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://chat:hunter2@db")
    assert main(["config"]) == 0
    err = capsys.readouterr().err
    assert err == "chatsvc: warning: MONGODB_URI is set but not read; MONGO_URI is read\n"
