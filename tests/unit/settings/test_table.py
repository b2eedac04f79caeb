"""One table of settings: read strictly, refused by name, and documented to the last row."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from chatsvc.core.errors import ConfigurationError
from chatsvc.core.limits import Limits
from chatsvc.settings.table import TABLE, Settings, load, near_misses

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "operations.md"
EXAMPLE = ROOT / ".env.example"


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(variables)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_needs_to_be_set() -> None:
    settings = load({})
    assert settings.port == 8080
    assert settings.host == "127.0.0.1"
    assert settings.mongo_db == "chatdb"
    assert settings.mongo_collection == "messages"
    assert settings.retry_attempts == 5
    assert settings.data_dir == "./data"
    assert settings.dev_login == "off"
    assert set(settings.source.values()) == {"default"}


def test_every_row_is_an_attribute_of_the_type_it_says() -> None:
    hints = get_type_hints(Settings)
    assert set(hints) == {row.attribute for row in TABLE}
    settings = load({})
    for row in TABLE:
        value = getattr(settings, row.attribute)
        expected = hints[row.attribute]
        assert isinstance(value, getattr(expected, "__origin__", expected)), row.name


def test_no_name_twice_and_every_row_says_what_it_means() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(row.unit and row.meaning.endswith(".") and "|" not in row.meaning for row in TABLE)


def test_the_environment_wins_over_the_default_and_an_override_over_both() -> None:
    settings = load(
        {"PORT": "9000", "MAX_CONTENT": "100"}, {"PORT": ("9001", "--port"), "HOST": ("::1", "x")}
    )
    assert (settings.port, settings.source["PORT"]) == (9001, "--port")
    assert (settings.host, settings.source["HOST"]) == ("::1", "x")
    assert (settings.max_content, settings.source["MAX_CONTENT"]) == (100, "environment")


def test_an_empty_variable_counts_as_unset() -> None:
    assert load({"PORT": "", "MONGO_URI": ""}).source["MONGO_URI"] == "default"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "must be a whole number"),
        ("PORT", "65536", "from 0 to 65535"),
        ("PORT", "-1", "from 0"),
        ("PORT", "8080.5", "must be a whole number"),
        ("HEARTBEAT_SECONDS", "0", "must be from 0.1"),
        ("HEARTBEAT_SECONDS", "nan", "must be from"),
        ("HEARTBEAT_SECONDS", "inf", "must be from"),
        ("HEARTBEAT_SECONDS", "soon", "must be a number"),
        ("TOKEN_CACHE_SECONDS", "61", "from 0 to 60"),
        ("CONNECTIONS_REQUIRE_AUTH", "maybe", "must be true or false"),
        ("STORE", "postgres", "auto, mongodb, sqlite"),
        ("DEV_LOGIN", "on", "off, loopback, anywhere"),
        ("LOG_FORMAT", "xml", "auto, console, json"),
        ("BACKLOG_BYTES", "64MB", "must be a whole number"),
        ("BACKLOG_BYTES", "64MB", "KiB, MiB or GiB, such as 256GiB"),
        ("BACKLOG_BYTES", "1.5GiB", "must be a whole number of bytes"),
        ("BACKLOG_BYTES", "-1", "must be a whole number of bytes"),
        ("BACKLOG_BYTES", "MiB", "must be a whole number of bytes"),
        ("BACKLOG_BYTES", "1KiB", "must be from 1MiB to 256GiB"),
        ("MAX_METADATA_BYTES", "1MiB", "must be from 2 bytes to 64KiB"),
        ("LOG_LEVEL", "warnign", "did you mean warning?"),
        ("LOG_LEVEL", "verbose", "debug, info, warning, error"),
        ("STORE", "mongdb", "did you mean mongodb?"),
        ("CONNECTIONS_REQUIRE_AUTH", "y", "yes, on, 0, no, off"),
        ("MAX_PARTICIPANTS", "257", "from 1 to 256"),
        ("RETRY_ATTEMPTS", "0", "from 1"),
        ("DATA_DIR", "~no-such-user/x", "must not begin with the home folder of an unknown user"),
        ("JWT_SECRET_FILE", "~no-such-user/x", "must not begin with the home folder"),
        ("JWT_PUBLIC_KEY_FILE", "~no-such-user", "must not begin with the home folder"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_that_names_it(
    name: str, value: str, said: str
) -> None:
    text = refusal(**{name: value})
    assert text.startswith(f"{name}: {value!r} must ")
    assert said in text


def test_a_drain_must_leave_half_of_the_shutdown_for_what_follows() -> None:
    assert load({"DRAIN_SECONDS": "10"}).drain_seconds == 10
    assert load({"DRAIN_SECONDS": "300", "SHUTDOWN_SECONDS": "600"}).drain_seconds == 300
    assert refusal(DRAIN_SECONDS="10.5") == (
        "DRAIN_SECONDS: '10.5' must be at most half of SHUTDOWN_SECONDS (20), which is 10"
    )
    assert refusal(DRAIN_SECONDS="2", SHUTDOWN_SECONDS="3") == (
        "DRAIN_SECONDS: '2' must be at most half of SHUTDOWN_SECONDS (3), which is 1.5"
    )


def test_the_default_drain_is_shortened_for_a_short_shutdown() -> None:
    settings = load({"SHUTDOWN_SECONDS": "3"})
    assert (settings.drain_seconds, settings.source["DRAIN_SECONDS"]) == (1.5, "default")
    assert load({"SHUTDOWN_SECONDS": "4"}).drain_seconds == 2


@pytest.mark.parametrize("value", ["two\nlines", "\x1b[31m"])
def test_a_value_is_shown_without_its_control_characters(value: str) -> None:
    assert repr(value) in refusal(PORT=value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [("1048576", 2**20), ("64KiB", 65536), ("1 MiB", 2**20), ("1GiB", 2**30), ("1gib", 2**30)],
)
def test_sizes(raw: str, value: int) -> None:
    assert load({"SOCKET_BUFFER_BYTES": raw}).socket_buffer_bytes == value


@pytest.mark.parametrize("raw", ["1", "true", "TRUE", "yes", "on"])
def test_flags_that_are_true(raw: str) -> None:
    assert load({"CONNECTIONS_REQUIRE_AUTH": raw}).connections_require_auth is True


@pytest.mark.parametrize("raw", ["0", "false", "No", "off"])
def test_flags_that_are_false(raw: str) -> None:
    assert load({"CONNECTIONS_REQUIRE_AUTH": raw}).connections_require_auth is False


@pytest.mark.parametrize(
    ("raw", "level"),
    [("WARN", "warning"), ("warn", "warning"), ("Warning", "warning"), ("DEBUG", "debug"),
     (" info ", "info")],
)  # fmt: skip
def test_levels_in_any_case(raw: str, level: str) -> None:
    assert load({"LOG_LEVEL": raw}).log_level == level


def test_other_words_in_any_case() -> None:
    assert load({"STORE": "MongoDB"}).chosen_store == "mongodb"
    assert load({"STORE": "mongo"}).chosen_store == "mongodb"
    assert load({"DEV_LOGIN": "Off", "LOG_FORMAT": "JSON"}).log_format == "json"


def test_origins_are_taken_as_browsers_send_them() -> None:
    raw = "https://app.example.org, http://[::1]:3000,loopback,null,capacitor://localhost"
    assert load({"CORS_ORIGINS": raw}).cors_origins == (
        "https://app.example.org",
        "http://[::1]:3000",
        "loopback",
        "null",
        "capacitor://localhost",
    )
    assert load({"CORS_ORIGINS": "*"}).cors_origins == ("*",)


def test_an_origin_that_can_never_match_is_one_line_that_says_what_to_write() -> None:
    text = refusal(CORS_ORIGINS="https://one.example.org,https://app.example.org/")
    assert (
        "'https://app.example.org/' must be written as browsers send it: write https://app.example.org"
        in text
    )


@pytest.mark.parametrize(
    ("raw", "said"), [("X-A,X B", "'X B'"), ("*", "leaves out Authorization"), ("X-A:", "'X-A:'")]
)
def test_headers_of_pages_are_names(raw: str, said: str) -> None:
    assert load({"CORS_HEADERS": "X-Trace, x-b3"}).cors_headers == ("X-Trace", "x-b3")
    assert said in refusal(CORS_HEADERS=raw)


def test_where_a_value_came_from_may_be_told() -> None:
    settings = load({"PORT": "1", "HOST": "::1"}, origins={"PORT": ".env"})
    assert (settings.source["PORT"], settings.source["HOST"]) == (".env", "environment")


def test_lists() -> None:
    assert load({"JWT_AUDIENCE": " a, b ,,c"}).jwt_audience == ("a", "b", "c")


@pytest.mark.parametrize(
    ("environment", "store"),
    [
        ({}, "sqlite"),
        ({"MONGO_URI": "mongodb://db"}, "mongodb"),
        ({"MONGO_URI": "mongodb://localhost:27017"}, "mongodb"),
        ({"STORE": "mongodb"}, "mongodb"),
        ({"STORE": "sqlite", "MONGO_URI": "mongodb://db"}, "sqlite"),
        ({"STORE": "auto", "MONGO_URI": ""}, "sqlite"),
    ],
)
def test_which_store(environment: dict[str, str], store: str) -> None:
    assert load(environment).chosen_store == store


def test_the_bounds_of_requests_come_from_the_settings() -> None:
    assert load({}).limits == Limits()
    changed = load(
        {
            "MAX_USER_ID": "1",
            "MAX_PARTICIPANTS": "2",
            "MAX_CONTENT": "3",
            "MAX_METADATA_BYTES": "4",
            "MAX_METADATA_DEPTH": "5",
            "MAX_BODY_BYTES": "1026",
        }
    ).limits
    assert changed == Limits(
        user_id_characters=1,
        participants=2,
        content_characters=3,
        metadata_bytes=4,
        metadata_depth=5,
        body_bytes=1026,
    )


def test_the_data_folder_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({}).data_path == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load({"DATA_DIR": "~/chat"}).data_path == tmp_path / "chat"


# Nearly right


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MONGODB_URI", "MONGO_URI"),
        ("MONGO_URL", "MONGO_URI"),
        ("JWT_KEY", "JWT_SECRET"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("DATADIR_", "DATA_DIR"),
        ("RETRY_ATTEMPT", "RETRY_ATTEMPTS"),
        ("MONGO_COLECTION", "MONGO_COLLECTION"),
        ("JWT_PUBLIC_KEYS", "JWT_PUBLIC_KEY"),
    ],
)
def test_a_variable_that_nearly_matches_is_named(name: str, meant: str) -> None:
    assert near_misses({name: "x"}) == [(name, meant)]


def test_known_variables_and_other_peoples_are_not_named() -> None:
    others = ("PATH", "HOME", "HOSTNAME", "PORTS", "MONGO", "LC_ALL", "SSH_AUTH_SOCK", "PYTHONPATH")
    assert near_misses(dict.fromkeys((*others, *(row.name for row in TABLE)), "x")) == []


# What is written about them


def documented() -> dict[str, tuple[str, str, str]]:
    """Name → default, unit and meaning, from the guide's tables."""
    rows: dict[str, tuple[str, str, str]] = {}
    for line in GUIDE.read_text().splitlines():
        match = re.fullmatch(r"\| `([A-Z_]+)` \| (.+?) \| (.+?) \| (.+) \|", line)
        if match:
            assert match[1] not in rows
            rows[match[1]] = (match[2], match[3], match[4])
    return rows


REMEDY = "run: python scripts/settings_docs.py"


def test_the_guide_documents_every_variable_and_no_other() -> None:
    rows = documented()
    assert list(rows) == [row.name for row in TABLE], REMEDY
    for row in TABLE:
        default = f"`{row.default}`" if row.default else "–"
        assert rows[row.name] == (default, row.unit, row.meaning), REMEDY


def test_the_guide_names_no_variable_that_there_is_not() -> None:
    known = {row.name for row in TABLE}
    others = {"JSON", "EPOCH", "SIGTERM", "SIGINT", "LIMITNOFILE", "SSL_CERT_FILE"}
    text = re.sub(r"```(nginx|ini).*?```", "", GUIDE.read_text(), flags=re.DOTALL)
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", text))
    assert named - known - others == {"MONGODB_URI", "JWT_KEY"}  # the examples of near misses


def test_the_example_file_has_every_variable_at_its_default_and_no_other() -> None:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert lines == [(row.name, row.default) for row in TABLE], REMEDY


def test_the_example_file_sets_nothing() -> None:
    assert all(not line or line.startswith("#") for line in EXAMPLE.read_text().splitlines())


def test_nothing_but_the_command_line_reads_the_environment() -> None:
    found: list[str] = []
    for path in sorted((ROOT / "chatsvc").rglob("*.py")):
        if (ROOT / "chatsvc" / "cli") in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            read: Any = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            if read:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []
