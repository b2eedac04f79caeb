"""A service with the default settings serves the documents that ``contracts/`` publishes."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from testkit.process import ROOT, running
from testkit.talking import url_of


def test_a_service_serves_the_published_documents(tmp_path: Path) -> None:
    with running(tmp_path, "serve", DEV_LOGIN="loopback", PORT="0", LOG_FORMAT="json") as process:
        url = url_of(process)
        for name in ("openapi.json", "asyncapi.json"):
            with urllib.request.urlopen(f"{url}/{name}", timeout=20) as answer:
                served = json.load(answer)
            assert served == json.loads((ROOT / "contracts" / name).read_bytes())
        assert process.stop() == 0
