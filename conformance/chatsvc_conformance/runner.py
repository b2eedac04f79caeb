"""Runs checks one after the other, each on users and sockets of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from chatsvc_conformance.bounds import Bounds, bounds_in_force
from chatsvc_conformance.check import Check, Outcome
from chatsvc_conformance.checks import ALL
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import Failed, Skipped
from chatsvc_conformance.http import Api
from chatsvc_conformance.tokens import DevLoginUsers, GivenUsers, SignedUsers, User, Users

TIMEOUT_SECONDS: Final = 10.0
_CHECK_FACTOR: Final = 6
"""A check waits for several things; together they may take so many times the timeout."""


class Unusable(Exception):
    """The run cannot begin; one line says why."""


def select_checks(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names or groups, in their usual order; all where there are none.

    Raises:
        Unusable: there is no check or group of a name.
    """
    for name in names:
        if not any(_named(check, name) for check in ALL):
            raise Unusable(f"there is no check {name!r}: --list shows them")
    return tuple(check for check in ALL if not names or any(_named(check, name) for name in names))


def _named(check: Check, name: str) -> bool:
    return check.name == name or check.name.startswith(f"{name}.")


@asynccontextmanager
async def connected_api(url: str, timeout: float) -> AsyncIterator[Api]:
    """The server at a URL.

    Raises:
        Unusable: it is no URL of HTTP, or nothing listens there.
    """
    if not _is_usable(url):
        raise Unusable(f"{url!r} must be a URL such as http://127.0.0.1:8080")
    limit = aiohttp.ClientTimeout(total=timeout)
    async with aiohttp.ClientSession(timeout=limit) as session:
        api = Api(session, url)
        try:
            await api.call("GET", "/health/live")
        except Failed as exc:
            raise Unusable(f"nothing to check at {url}: {exc}") from None
        yield api


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that cannot be one
        return False


async def users_for(
    api: Api, *, secret: bytes | None = None, claim: str = "id", given: Sequence[User] = ()
) -> Users:
    """Where users come from: the secret, else the tokens given, else the development login.

    Raises:
        Unusable: there is none of them.
    """
    if secret is not None:
        return SignedUsers(secret, claim=claim)
    if given:
        return GivenUsers(given)
    login = DevLoginUsers(api)
    if await login.offered():
        return login
    raise Unusable(
        "no tokens: give --secret, or --token for a few users (there is no development login here)"
    )


async def run(
    api: Api,
    users: Users,
    checks: Iterable[Check],
    *,
    timeout: float = TIMEOUT_SECONDS,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run the checks, one after another.

    Args:
        on_outcome: called with each outcome as its check ends.

    Raises:
        Unusable: the server went away before the first.
    """
    try:
        limits = await bounds_in_force(api)
    except Failed as exc:
        raise Unusable(str(exc)) from None
    outcomes: list[Outcome] = []
    for check in checks:
        outcome = await _run_one(check, api, users, timeout, limits)
        outcomes.append(outcome)
        on_outcome(outcome)
    return outcomes


async def _run_one(check: Check, api: Api, users: Users, timeout: float, limits: Bounds) -> Outcome:
    outcome = Outcome(
        name=check.name, section=check.section, sentence=check.sentence, result="pass"
    )
    context = Context(api, users, timeout, limits)
    try:
        async with asyncio.timeout(timeout * _CHECK_FACTOR):
            await check.body(context)
    except Skipped as exc:
        outcome.result, outcome.reason = "skipped", str(exc)
    except Failed as exc:
        outcome.result, outcome.reason = "fail", str(exc)
    except TimeoutError:
        outcome.result, outcome.reason = "fail", "the check must end in time"
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        # An answer of another shape than the protocol has, met where it was used.
        outcome.result = "fail"
        outcome.reason = (
            f"an answer must have the shape that the protocol gives: {type(exc).__name__} {exc}"
        )
    finally:
        await context.close()
    return outcome
