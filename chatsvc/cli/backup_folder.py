"""The folder of a backup: up to two databases and a manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from chatsvc.core.errors import ConfigurationError, LogDamaged, VersionTooNew
from chatsvc.log.local.snapshot import page_errors
from chatsvc.log.local.verify import verify

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
LOG: Final = "log.db"
STORE: Final = "store.db"
_MAX_MANIFEST_BYTES: Final = 64 * 1024
_CHUNK: Final = 1024 * 1024


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the backup: its size in bytes and its SHA-256 checksum in hex."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``manifest.json``.

    ``store`` is ``sqlite`` or ``mongodb``; with ``mongodb`` only the log is in the backup.
    ``made_at`` is RFC 3339, ``program`` is the version of chatsvc.
    """

    version: int
    made_at: str
    program: str
    store: str
    files: dict[str, FileEntry]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a backup; it is durable on return."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    path = folder / MANIFEST
    with path.open("xb") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a backup.

    Raises:
        ConfigurationError: the folder is not a backup.
        VersionTooNew: a newer version of the program wrote it.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as handle:
            data = handle.read(_MAX_MANIFEST_BYTES)
        version = msgspec.json.decode(data, type=_Versioned).version
        if version > VERSION:
            raise VersionTooNew(
                f"{folder} is a backup of version {version}; this program knows up to {VERSION}: "
                "restore it with the version that wrote it, or a newer one"
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except OSError as exc:
        raise ConfigurationError(f"{folder} is not a backup: {MANIFEST}: {exc.strerror}") from exc
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise ConfigurationError(f"{folder} is not a backup: {MANIFEST}: {exc}") from exc
    wanted = {LOG, STORE} if manifest.store == "sqlite" else {LOG}
    if set(manifest.files) != wanted:
        raise ConfigurationError(f"{folder} is not a backup: {MANIFEST} names other files")
    return manifest


class _Versioned(msgspec.Struct):
    version: int


def entry_of(path: Path) -> FileEntry:
    """Return size and checksum of a file."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as handle:
        while piece := handle.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return FileEntry(size, digest.hexdigest())


def check_copies(folder: Path, names: Sequence[str]) -> int:
    """Verify the databases in a folder, which no other process has open.

    Returns:
        The number of records in the log.

    Raises:
        LogDamaged: names the file and the first error.
    """
    verdict = verify(folder / LOG)
    errors = [*verdict.errors, *verdict.state]
    errors += [f"a record is damaged: {row.reason}" for row in verdict.rows]
    if errors:
        raise LogDamaged(f"{folder / LOG} is damaged: {errors[0]}")
    if STORE in names and (errors := page_errors(folder / STORE)):
        raise LogDamaged(f"{folder / STORE} is damaged: {errors[0]}")
    return verdict.records


def copy_checked(source: Path, target: Path, expected: FileEntry) -> None:
    """Copy a file of a backup to a new file, durably.

    Raises:
        ConfigurationError: the file cannot be read.
        LogDamaged: the file differs from the manifest.
    """
    try:
        reading = source.open("rb")
    except OSError as exc:
        raise ConfigurationError(f"{source}: {exc.strerror}: the backup is not complete") from exc
    with reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, _CHUNK)
        writing.flush()
        os.fsync(writing.fileno())
    if entry_of(target) != expected:
        raise LogDamaged(f"{source} is damaged: its checksum differs from the manifest")
