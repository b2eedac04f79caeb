"""Every variable that chatsvc reads, in one table: its default, unit and meaning.

``docs/operations.md`` documents each, and a test compares the two. Nothing else in the
program reads the environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chatsvc.core.errors import ConfigurationError
from chatsvc.core.limits import Limits
from chatsvc.settings.values import Parser
from chatsvc.settings.values import choice as _choice
from chatsvc.settings.values import comma_list as _comma_list
from chatsvc.settings.values import flag as _flag
from chatsvc.settings.values import header_names as _header_names
from chatsvc.settings.values import number as _number
from chatsvc.settings.values import origins as _origins
from chatsvc.settings.values import path as _path
from chatsvc.settings.values import size as _size
from chatsvc.settings.values import text as _text
from chatsvc.settings.values import whole as _whole


def _per_address(raw: str) -> int | None:
    return None if raw == "auto" else int(_whole(0, 1_000_000)(raw))


@dataclass(frozen=True, slots=True)
class Variable:
    """A row of the table. ``default`` is text, as in the environment."""

    name: str
    parse: Parser
    default: str
    unit: str
    meaning: str
    group: str
    secret: bool = False

    @property
    def attribute(self) -> str:
        """The name of the attribute of :class:`Settings`."""
        return self.name.lower()


_Rows = tuple[tuple[str, Parser, str, str, str], ...]
"""Name, parser, default, unit and meaning of each variable of a group."""

_MIB: Final = 1024**2
_SECRET: Final = frozenset({"JWT_SECRET", "METRICS_TOKEN", "MONGO_URI"})

_SERVER: Final[_Rows] = (
    ("HOST", _text, "127.0.0.1", "address", "The address to listen on; :: is every address of IPv6 and IPv4. The image says 0.0.0.0."),
    ("PORT", _whole(0, 65535), "8080", "port", "The port to listen on; 0 chooses a free one."),
    ("MAX_CONNECTIONS", _whole(1, 1_000_000), "15000", "sockets",
     "WebSockets at once; one more is closed with 1013. Keep it below the open-files limit."),
    ("MAX_CONNECTIONS_PER_USER", _whole(1, 1_000_000), "100", "sockets",
     "WebSockets of one user at once; one more is closed with 1013, or refused with 429."),
    ("MAX_HTTP_CONNECTIONS", _whole(16, 1_000_000), "2000", "connections",
     "HTTP connections at once, beside the WebSockets; beyond it idle ones are closed, and new ones wait."),
    ("MAX_HTTP_CONNECTIONS_PER_ADDRESS", _per_address, "auto", "connections",
     "Of one address; one more gets 429. auto: 256, private addresses, where a proxy may be, not counted; 0: no bound."),
    ("SHUTDOWN_SECONDS", _number(1, 600), "20", "seconds",
     "From SIGTERM to exit at the latest: sockets are closed, requests answered, the log closed."),
    ("DRAIN_SECONDS", _number(0, 300), "2", "seconds",
     "After SIGTERM, how long /health/ready says 503 while requests are still served; must be at most half of SHUTDOWN_SECONDS."),
    ("KEEP_ALIVE_SECONDS", _number(1, 3600), "75", "seconds",
     "How long an idle HTTP connection is kept open; must be longer than the proxy keeps it."),
    ("CORS_ORIGINS", _origins, "", "list",
     "Origins whose pages may call the HTTP interface; loopback for pages of this machine, * for all."),
    ("CORS_HEADERS", _header_names, "", "list",
     "Further request headers that such pages may send, beside those of the interface."),
    ("CONNECTIONS_REQUIRE_AUTH", _flag, "false", "boolean",
     "Whether POST /api/connections asks for a token."),
    ("METRICS_TOKEN", _text, "", "text",
     "The bearer token for GET /metrics. Unset: answered to loopback addresses only."),
    ("LOG_LEVEL", _choice("debug", "info", "warning", "error", warn="warning"), "info", "level",
     "The lowest level that is logged."),
    ("LOG_FORMAT", _choice("auto", "console", "json"), "auto", "format",
     "How log lines look; auto: console on a terminal, otherwise json."),
)  # fmt: skip

_TOKENS: Final[_Rows] = (
    ("JWT_SECRET", _text, "", "text",
     "The HS256 secret, at least 32 bytes; several, one a line, while rotating."),
    ("JWT_SECRET_FILE", _path, "", "path", "A file that holds JWT_SECRET."),
    ("JWT_PUBLIC_KEY", _text, "", "PEM",
     "Public keys for RS256, ES256 or EdDSA; several PEM blocks while rotating."),
    ("JWT_PUBLIC_KEY_FILE", _path, "", "path", "A file that holds JWT_PUBLIC_KEY."),
    ("JWT_AUDIENCE", _comma_list, "", "list", "Values of aud to accept; unset: aud is not checked."),
    ("JWT_ISSUER", _comma_list, "", "list", "Values of iss to accept; unset: iss is not checked."),
    ("JWT_LEEWAY_SECONDS", _number(0, 600), "10", "seconds",
     "How far clocks may differ when exp, nbf and iat are checked."),
    ("JWT_USER_CLAIM", _text, "", "claim",
     "The claim that is the user id; unset: id, or sub where there is no id."),
    ("TOKEN_CACHE_SECONDS", _number(0, 60), "60", "seconds",
     "How long a verified token is cached, never past its exp."),
    ("TOKEN_CACHE_SIZE", _whole(1, 10_000_000), "50000", "tokens", "The maximum number of cached tokens."),
    ("DEV_LOGIN", _choice("off", "loopback", "anywhere"), "off", "who",
     "Whether POST /api/dev/token gives a token to anyone who asks: only for development."),
)  # fmt: skip

_LOG: Final[_Rows] = (
    ("DATA_DIR", _path, "./data", "path",
     "The folder of the log, the embedded store and the dev secret; one process at a time."),
    ("IDEMPOTENCY_SECONDS", _whole(1, 86_400), "600", "seconds",
     "How long a client_id that is no UUIDv7 is remembered, by elapsed time; a UUIDv7 is for ever."),
    ("IDEMPOTENCY_MAX_KEYS", _whole(1000, 100_000_000), "1000000", "keys",
     "How many client_ids the log holds; beyond it the user with the most loses the oldest stored ones."),
    ("IDEMPOTENCY_KEYS_PER_SENDER", _whole(100, 10_000_000), "20000", "keys",
     "How many of one user; beyond it that user's oldest stored ones are forgotten early."),
    ("RECENT_BYTES", _size(_MIB, 64 * 1024 * _MIB), "64MiB", "bytes",
     "Memory for recent messages that are stored already: clients resume from it without the store."),
    ("BACKLOG_BYTES", _size(_MIB, 256 * 1024 * _MIB), "512MiB", "bytes",
     "Memory for messages that are accepted and not yet stored; beyond it sends get 503, beyond a share 429."),
    ("LOG_RETENTION_SECONDS", _whole(0, 31_536_000), "86400", "seconds",
     "How long the log on disk keeps messages that are stored; at least IDEMPOTENCY_SECONDS."),
    ("MIN_FREE_BYTES", _size(0, 1024 * 1024 * _MIB), "256MiB", "bytes",
     "Free space on DATA_DIR's disk below which sends get 503."),
)  # fmt: skip

_STORE: Final[_Rows] = (
    ("STORE", _choice("auto", "mongodb", "sqlite", mongo="mongodb"), "auto", "store",
     "Where messages are kept; auto: MongoDB if MONGO_URI is set, otherwise SQLite in DATA_DIR."),
    ("MONGO_URI", _text, "mongodb://localhost:27017", "URI", "The MongoDB to connect to."),
    ("MONGO_DB", _text, "chatdb", "name", "The database."),
    ("MONGO_COLLECTION", _text, "messages", "name",
     "The collection of messages; others take their names from it."),
    ("RETRY_ATTEMPTS", _whole(1, 100), "5", "tries",
     "Tries of a batch in a round, with exponential backoff; rounds go on for as long as it takes."),
    ("STORE_BATCH", _whole(1, 5000), "500", "messages",
     "Messages stored in one go while keeping up; up to 5000 or 4 MiB when behind."),
    ("STORE_BATCH_MS", _whole(0, 10_000), "50", "milliseconds",
     "How long a batch waits for more messages while keeping up."),
    ("MESSAGE_RETENTION_DAYS", _whole(0, 36_500), "0", "days",
     "How long messages are kept in the store, in time that has passed; 0: for ever."),
)  # fmt: skip

_BOUNDS: Final[_Rows] = (
    ("MAX_USER_ID", _whole(1, 128), "128", "characters", "Of a user id."),
    ("MAX_PARTICIPANTS", _whole(1, 256), "256", "users", "Of a conversation."),
    ("MAX_GROUP_MEMBERS", _whole(1, 1_000_000), "1000", "users", "Of a group."),
    ("MAX_GROUPS_PER_USER", _whole(1, 10_000), "1000", "groups", "That a user may be a member of."),
    ("MAX_CONTENT", _whole(1, 60_000), "16000", "characters", "Of a message's content."),
    ("MAX_METADATA_BYTES", _size(2, 65_536), "4096", "bytes", "Of a message's metadata, as JSON."),
    ("MAX_METADATA_DEPTH", _whole(1, 50), "5", "levels", "To which metadata nests."),
    ("MAX_NEW_CONVERSATIONS_PER_HOUR", _whole(0, 1_000_000), "1000", "conversations",
     "That one sender may begin, beyond which sends get 429; 0: any number."),
    ("MAX_BODY_BYTES", _size(1024, 16 * _MIB), "262144", "bytes",
     "Of a request body or a client's frame."),
)  # fmt: skip

_SOCKETS: Final[_Rows] = (
    ("HEARTBEAT_SECONDS", _number(0.1, 600), "30", "seconds",
     "Between pings; a socket that is silent for two of them is closed."),
    ("RESUME_MAX", _whole(0, 1_000_000), "10000", "messages",
     "The maximum that a resume replays, or a socket falls behind; beyond it there is a gap to fetch."),
    ("SOCKET_BUFFER_BYTES", _size(65_536, 1024 * _MIB), "1MiB", "bytes",
     "Unsent bytes of one socket beyond which what follows waits in the log until it drains."),
    ("SOCKET_STALL_SECONDS", _number(0.1, 600), "10", "seconds",
     "How long unsent bytes of a socket, or of an HTTP answer, may not shrink before it is cut off."),
    ("SOCKET_SNDBUF_BYTES", _size(4096, 64 * _MIB), "128KiB", "bytes",
     "The kernel's send buffer of a socket (SO_SNDBUF)."),
    ("SOCKET_UNACKED_MAX", _whole(1, 10_000), "64", "sends",
     "Sends of one socket that may wait for their ack before it is no longer read."),
)  # fmt: skip

_GROUPS: Final[Mapping[str, _Rows]] = {
    "Server": _SERVER,
    "Tokens": _TOKENS,
    "Log": _LOG,
    "Store": _STORE,
    "Bounds": _BOUNDS,
    "Sockets": _SOCKETS,
}
"""By title, in the order in which they are documented."""

TABLE: Final = tuple(
    Variable(name, parse, default, unit, meaning, title, secret=name in _SECRET)
    for title, rows in _GROUPS.items()
    for name, parse, default, unit, meaning in rows
)
_BY_NAME: Final = {row.name: row for row in TABLE}


class Settings:
    """The values, as attributes named like the variables in lower case.

    ``source`` names the origin of each: ``default``, ``environment``, or what an
    override was called (``chatsvc dev``, ``--port``).
    """

    host: str
    port: int
    max_connections: int
    max_connections_per_user: int
    max_http_connections: int
    max_http_connections_per_address: int | None
    shutdown_seconds: float
    drain_seconds: float
    keep_alive_seconds: float
    cors_origins: tuple[str, ...]
    cors_headers: tuple[str, ...]
    connections_require_auth: bool
    metrics_token: str
    log_level: str
    log_format: str
    jwt_secret: str
    jwt_secret_file: str
    jwt_public_key: str
    jwt_public_key_file: str
    jwt_audience: tuple[str, ...]
    jwt_issuer: tuple[str, ...]
    jwt_leeway_seconds: float
    jwt_user_claim: str
    token_cache_seconds: float
    token_cache_size: int
    dev_login: str
    data_dir: str
    idempotency_seconds: int
    idempotency_max_keys: int
    idempotency_keys_per_sender: int
    recent_bytes: int
    backlog_bytes: int
    log_retention_seconds: int
    min_free_bytes: int
    store: str
    mongo_uri: str
    mongo_db: str
    mongo_collection: str
    retry_attempts: int
    store_batch: int
    store_batch_ms: int
    message_retention_days: int
    max_user_id: int
    max_participants: int
    max_group_members: int
    max_groups_per_user: int
    max_content: int
    max_metadata_bytes: int
    max_metadata_depth: int
    max_new_conversations_per_hour: int
    max_body_bytes: int
    heartbeat_seconds: float
    resume_max: int
    socket_buffer_bytes: int
    socket_stall_seconds: float
    socket_sndbuf_bytes: int
    socket_unacked_max: int

    def __init__(self, values: Mapping[str, Any], source: Mapping[str, str]) -> None:
        for row in TABLE:
            setattr(self, row.attribute, values[row.name])
        self.source = dict(source)

    @property
    def data_path(self) -> Path:
        """``DATA_DIR`` as an absolute path."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def chosen_store(self) -> str:
        """``STORE`` with ``auto`` decided: ``mongodb`` or ``sqlite``."""
        if self.store != "auto":
            return self.store
        return "sqlite" if self.source["MONGO_URI"] == "default" else "mongodb"

    @property
    def limits(self) -> Limits:
        """The bounds of requests."""
        return Limits(
            user_id_characters=self.max_user_id,
            participants=self.max_participants,
            content_characters=self.max_content,
            metadata_bytes=self.max_metadata_bytes,
            metadata_depth=self.max_metadata_depth,
            body_bytes=self.max_body_bytes,
            group_members=self.max_group_members,
            groups_per_user=self.max_groups_per_user,
        )


def load(
    environment: Mapping[str, str],
    overrides: Mapping[str, tuple[str, str]] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Settings:
    """Read the variables of the table.

    Args:
        environment: usually ``os.environ``; an empty value counts as unset.
        overrides: name → (value as text, its origin); they take precedence.
        origins: name → the origin of a value in ``environment``; by default
            ``environment``.

    Raises:
        ConfigurationError: one line that names the variable.
    """
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    for row in TABLE:
        raw, origin = row.default, "default"
        if environment.get(row.name):
            raw = environment[row.name]
            origin = (origins or {}).get(row.name, "environment")
        if overrides and row.name in overrides:
            raw, origin = overrides[row.name]
        try:
            values[row.name] = row.parse(raw)
        except ValueError as exc:
            shown = "its value" if row.secret else repr(raw)
            raise ConfigurationError(f"{row.name}: {shown} {exc} ({row.meaning})") from None
        source[row.name] = origin
    _fit_drain_seconds(values, source)
    return Settings(values, source)


def _fit_drain_seconds(values: dict[str, Any], source: Mapping[str, str]) -> None:
    """Refuse a drain that leaves less than half of the time for all that follows it.

    Raises:
        ConfigurationError: DRAIN_SECONDS is set and too long; its default is shortened instead.
    """
    drain, maximum = values["DRAIN_SECONDS"], values["SHUTDOWN_SECONDS"] / 2
    if drain <= maximum:
        return
    if source["DRAIN_SECONDS"] != "default":
        raise ConfigurationError(
            f"DRAIN_SECONDS: '{drain:g}' must be at most half of SHUTDOWN_SECONDS "
            f"({values['SHUTDOWN_SECONDS']:g}), which is {maximum:g}"
        )
    values["DRAIN_SECONDS"] = maximum


def near_misses(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return variables whose names nearly match a known one: ``(as set, as meant)``.

    ``MONGODB_URI`` for ``MONGO_URI``, ``JWT_KEY`` for ``JWT_SECRET``: the program ignores
    them and warns.
    """
    aliases = {
        "MONGODB_URI": "MONGO_URI",
        "MONGO_URL": "MONGO_URI",
        "MONGODB_URL": "MONGO_URI",
        "MONGO_DATABASE": "MONGO_DB",
        "JWT_KEY": "JWT_SECRET",
        "SECRET_KEY": "JWT_SECRET",
    }
    found: list[tuple[str, str]] = []
    for name in sorted(environment):
        if name in _BY_NAME:
            continue
        if name in aliases:
            found.append((name, aliases[name]))
            continue
        if "_" not in name:
            continue  # PORTS, HOSTS and similar names belong to other programs
        close = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.85)
        if close:
            found.append((name, close[0]))
    return found
