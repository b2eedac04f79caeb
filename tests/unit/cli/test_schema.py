"""``chatsvc schema``: the documents as files, and where a file differs from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatsvc.cli import main
from chatsvc.cli.schema import first_difference

Captured = pytest.CaptureFixture[str]
NAMES = ("openapi.json", "asyncapi.json")


@pytest.fixture
def written(folder: Path, capsys: Captured) -> Path:
    assert main(["schema", "made/here"]) == 0
    path = folder / "made" / "here"
    assert capsys.readouterr().out.splitlines() == [f"made/here/{name}" for name in NAMES]
    return path


def test_it_writes_both_documents_and_finds_them_up_to_date(
    written: Path, capsys: Captured
) -> None:
    assert sorted(path.name for path in written.iterdir()) == sorted(NAMES)
    for name in NAMES:
        text = (written / name).read_text("utf-8")
        value = json.loads(text)
        assert text == json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert main(["schema", "--check", "made/here"]) == 0
    assert capsys.readouterr().out == "made/here is up to date\n"


def test_the_folder_is_contracts_where_none_is_named(folder: Path) -> None:
    assert main(["schema"]) == 0
    assert (folder / "contracts" / "openapi.json").is_file()


def test_nothing_else_is_left_behind(written: Path, folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["made"]


def test_the_environment_changes_nothing(
    written: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "MAX_CONTENT": "7",
        "CONNECTIONS_REQUIRE_AUTH": "true",
        "DEV_LOGIN": "off",
        "JWT_SECRET": "x" * 32,
        "DATA_DIR": str(folder / "data"),
        "STORE": "mongodb",
        "HOST": "0.0.0.0",
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["schema", "--check", str(written)]) == 0
    assert not (folder / "data").exists()


def test_the_first_difference_is_named(written: Path, capsys: Captured) -> None:
    path = written / "openapi.json"
    document = json.loads(path.read_bytes())
    del document["paths"]["/api/messages/{id}"]["get"]["summary"]
    path.write_text(json.dumps(document))
    assert main(["schema", "--check", str(written)]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        f"chatsvc: {path}: it differs at /paths/~1api~1messages~1{{id}}/get/summary\n"
    )
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "it must be JSON"),
        ("[]", "it differs at the root"),
        (None, "its layout differs"),
    ],
)
def test_what_is_no_such_document(
    written: Path, capsys: Captured, text: str | None, error: str
) -> None:
    path = written / "asyncapi.json"
    path.write_text(text or json.dumps(json.loads(path.read_bytes())))
    assert main(["schema", "--check", str(written)]) == 1
    assert capsys.readouterr().err == f"chatsvc: {path}: {error}\n"


def test_a_file_that_nests_too_deep(written: Path, capsys: Captured) -> None:
    path = written / "openapi.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    assert main(["schema", "--check", str(written)]) == 1
    assert capsys.readouterr().err == f"chatsvc: {path}: it nests too deep\n"


def test_a_missing_file_differs(written: Path, capsys: Captured) -> None:
    (written / "asyncapi.json").unlink()
    assert main(["schema", "--check", str(written)]) == 1
    path = written / "asyncapi.json"
    assert capsys.readouterr().err == f"chatsvc: {path}: No such file or directory\n"


def test_a_folder_that_cannot_be_written(folder: Path, capsys: Captured) -> None:
    (folder / "file").touch()
    assert main(["schema", "file"]) == 2
    assert capsys.readouterr().err == "chatsvc: DIR: file: File exists\n"


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ({}, {}, None),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, None),
        (1, 2, ""),
        (True, 1, ""),
        (1, 1.0, ""),
        ({"a": 1}, [1], ""),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, "/a"),
        ({"a": 1}, {"a": 1, "b": None}, "/b"),
        ({"a": [1]}, {"a": [1, 2]}, "/a/1"),
        ({"a": [3, 2]}, {"a": [3]}, "/a/1"),
        ({"a/b": {"c~d": 1}}, {"a/b": {"c~d": 2}}, "/a~1b/c~0d"),
    ],
)
def test_a_difference_is_a_json_pointer(one: Any, other: Any, path: str | None) -> None:
    assert first_difference(one, other) == path
