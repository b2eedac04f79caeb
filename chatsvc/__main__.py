"""``python -m chatsvc``."""

from __future__ import annotations

import sys

from chatsvc.cli import main

if __name__ == "__main__":
    sys.exit(main())
