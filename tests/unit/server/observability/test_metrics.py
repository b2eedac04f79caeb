"""What is counted, and who may read it."""

from __future__ import annotations

from typing import Literal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatsvc.api.metric import Metric
from chatsvc.server.http.application import ServerOptions
from chatsvc.server.observability.metrics import Metrics
from tests.unit.support.http_service import HttpService, running


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_requests_are_a_histogram_with_cumulative_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        metrics.requests.observe("GET", "/x", 200, seconds)
    metrics.requests.observe("GET", "/x", 404, 0.1)
    found = samples(metrics.render())
    name = "chatsvc_http_request_duration_seconds"
    labels = (("method", "GET"), ("route", "/x"), ("status", "200"))
    assert found[f"{name}_count", labels] == 4
    assert found[f"{name}_sum", labels] == pytest.approx(99.3015)
    for bound, count in (("0.001", 2), ("0.25", 2), ("0.5", 3), ("10.0", 3), ("+Inf", 4)):
        with_bound = tuple(sorted((*labels, ("le", bound))))
        assert found[f"{name}_bucket", with_bound] == count
    assert found[f"{name}_count", (*labels[:2], ("status", "404"))] == 1


@pytest.mark.parametrize("kind", ["gauge", "counter"])
def test_a_number_for_each_value_of_a_label(kind: Literal["gauge", "counter"]) -> None:
    metrics = Metrics()
    found = {"one": 1.0, "two": 2.0}
    metrics.watch(Metric("rows", "Rows.", lambda: found, kind, label="projection"))
    metrics.watch(Metric("none", "None.", dict, kind, label="projection"))
    shown = {labels: value for (name, labels), value in samples(metrics.render()).items()
             if name.startswith("chatsvc_rows")}  # fmt: skip
    assert shown == {(("projection", "one"),): 1, (("projection", "two"),): 2}
    assert "# TYPE chatsvc_none" in metrics.render().decode()


def test_numbers_that_live_elsewhere_are_read_when_asked_for() -> None:
    metrics = Metrics()
    backlog = [3.0]
    metrics.watch(Metric("backlog_messages", "Waiting.", lambda: backlog[0]))
    metrics.watch(Metric("gaps", "Announced.", lambda: 7.0, "counter"))
    assert samples(metrics.render())["chatsvc_backlog_messages", ()] == 3
    backlog[0] = 5
    found = samples(metrics.render())
    assert found["chatsvc_backlog_messages", ()] == 5
    assert found["chatsvc_gaps_total", ()] == 7


def test_two_registries_do_not_know_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.accepted.inc(5)
    one.socket_opened()
    one.socket_opened()
    one.socket_closed("normal")
    found = samples(one.render())
    assert found["chatsvc_messages_accepted_total", ()] == 5
    assert found["chatsvc_connections", ()] == 1
    assert found["chatsvc_disconnects_total", (("reason", "normal"),)] == 1
    assert samples(other.render())["chatsvc_messages_accepted_total", ()] == 0


async def test_without_a_token_it_is_for_this_machine() -> None:
    async with running(HttpService()) as client:
        await client.send("alice", "bob")
        answer = await client.call("GET", "/metrics", user=None)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        labels = (("method", "POST"), ("route", "/api/messages"), ("status", "201"))
        found = samples(answer.body)
        assert found["chatsvc_http_request_duration_seconds_count", labels] == 1
        for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}):
            proxied = await client.call("GET", "/metrics", user=None, headers=headers)
            assert (proxied.status, proxied.json["code"]) == (403, "not_local")
        for host in ("chat.example.org", "localhost.example.org", "127.0.0.1.nip.io:8080"):
            # A page whose own name was made to resolve to 127.0.0.1 (DNS rebinding).
            rebound = await client.call("GET", "/metrics", user=None, headers={"Host": host})
            assert (rebound.status, rebound.json["code"]) == (403, "not_local")
        for host in ("localhost:9090", "127.0.0.1", "[::1]:8080"):
            here = await client.call("GET", "/metrics", user=None, headers={"Host": host})
            assert here.status == 200


async def test_with_a_token_it_is_for_whoever_has_it() -> None:
    options = ServerOptions(version="0", metrics_token="metrics-secret")
    async with running(HttpService(options=options)) as client:
        assert (await client.call("GET", "/metrics", user=None)).status == 401
        assert (await client.call("GET", "/metrics")).status == 401
        headers = {"Authorization": "Bearer metrics-secret", "X-Forwarded-For": "192.0.2.1"}
        assert (await client.call("GET", "/metrics", user=None, headers=headers)).status == 200


async def test_made_up_paths_and_methods_make_no_new_series() -> None:
    async with running(HttpService()) as client:
        for number in range(20):
            await client.call("GET", f"/made-up/{number}")
            await client.call("REPORT", f"/made-up/{number}")
        text = (await client.call("GET", "/metrics")).body.decode()
    routes = {line for line in text.splitlines() if "_count{" in line and "http_request" in line}
    assert len(routes) == 2
    assert all('route="unmatched"' in line for line in routes)
