"""A browser for the tests of a module, and a tab for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from testkit.missing import skip_outside_ci
from tests.e2e.support import browser
from tests.e2e.support.browser import Page


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    executable = browser.program()
    if executable is None:
        skip_outside_ci(browser.NO_BROWSER)
    with browser.running(executable, tmp_path_factory.mktemp("browser") / "profile") as address:
        yield address


@pytest.fixture
async def page(devtools: str) -> AsyncIterator[Page]:
    async with browser.new_page(devtools) as opened:
        yield opened
