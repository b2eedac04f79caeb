"""Health, documents, conversations, and who is connected."""

from __future__ import annotations

from collections.abc import Sequence

from chatsvc_conformance.check import check
from chatsvc_conformance.context import Context
from chatsvc_conformance.expect import expect, one_of, same
from chatsvc_conformance.tokens import User


@check("health.report", "HTTP", "`GET /health`, `/health/live`, `/health/ready` | no |")
async def health(context: Context) -> None:
    answer = await context.api.call("GET", "/health")
    report = answer.expect(200, 503)
    one_of(report["status"], ("ok", "degraded", "down"), "the status of /health")
    same(answer.status == 503, report["status"] == "down", "503 means down")
    expect(isinstance(report["durability"], str), "durability of /health must be a text")
    expect(isinstance(report["checks"], dict), "checks of /health must be an object")


@check("health.live", "HTTP", "`GET /health`, `/health/live`, `/health/ready` | no |")
async def live(context: Context) -> None:
    (await context.api.call("GET", "/health/live")).expect(200)
    (await context.api.call("GET", "/health/ready")).expect(200, 503)


@check(
    "documents.for-machines",
    "HTTP",
    "`GET /openapi.json`, `/asyncapi.json`, `/docs` | no | the interface, for machines",
)
async def documents(context: Context) -> None:
    openapi = (await context.api.call("GET", "/openapi.json")).expect(200)
    expect(str(openapi.get("openapi", "")).startswith("3."), "/openapi.json must be OpenAPI 3")
    paths = openapi["paths"]
    for path in ("/api/messages", "/api/messages/get", "/api/conversations", "/api/connections"):
        expect(path in paths, f"/openapi.json must describe {path}")
    asyncapi = (await context.api.call("GET", "/asyncapi.json")).expect(200)
    expect("asyncapi" in asyncapi, "/asyncapi.json must be AsyncAPI")


@check("connections.count", "HTTP", "the number of open sockets of each user")
async def connections(context: Context) -> None:
    alice, bob = await context.users(2)
    # Users whose tokens were given may have sockets of their own.
    before = await _count(context, (alice, bob))
    first = await context.connect(alice)
    await context.connect(alice)
    await _until(context, (alice, bob), [before[0] + 2, before[1]])
    await first.close()
    await _until(context, (alice, bob), [before[0] + 1, before[1]])


async def _count(context: Context, users: Sequence[User]) -> list[int]:
    names = [user.id for user in users]
    answer = await context.api.call(
        "POST", "/api/connections", token=users[0].token, json={"users": names}
    )
    counts: dict[str, int] = answer.expect(200)["connections"]
    same(set(counts), set(names), "the users of the answer")
    return [counts[name] for name in names]


async def _until(context: Context, users: Sequence[User], wanted: list[int]) -> None:
    await context.until(
        lambda: _count(context, users),
        lambda counts: counts == wanted,
        f"not {wanted} connections",
    )


@check("conversations.newest-first", "Conversations and connection counts", "newest first")
async def conversations(context: Context) -> None:
    alice, bob = await context.users(2)
    held = [context.conversation(alice, bob) for _ in range(3)]
    last = {}
    for conversation in (*held, held[0]):
        last[conversation.channel] = await context.send(alice, conversation)
    page = (await context.get(bob, "/api/conversations", limit="3")).expect(200)
    found = page["conversations"]
    wanted = [held[0], held[2], held[1]]
    same([one["channel"] for one in found], [one.channel for one in wanted], "the channels")
    for one, conversation in zip(found, wanted, strict=True):
        same(one["participants"], conversation.participants, "participants")
        same(one["last_message"], last[conversation.channel], "last_message")
    same(page["complete"], True, "complete")


@check(
    "conversations.paging",
    "Conversations and connection counts",
    "`before=ID` asks for the next page",
)
async def conversations_paging(context: Context) -> None:
    alice, bob = await context.users(2)
    held = [context.conversation(alice, bob) for _ in range(3)]
    for conversation in held:
        await context.send(alice, conversation)
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in held:
        page = (await context.get(alice, "/api/conversations", limit="1", **query)).expect(200)
        seen += [one["channel"] for one in page["conversations"]]
        if len(seen) < len(held):
            same(page["has_more"], True, "has_more with more to come")
        query = {"before": page["before"]}
    same(seen, [one.channel for one in reversed(held)], "the channels, one a page")
