"""Making files and folders durable."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make durable what a file holds, or which entries a folder has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
