"""Pulse and endpoint: what a supervisor and Prometheus are told of a role, over real HTTP."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from protocol.role.store_probe import StoreProbe
from protocol.runtime.health import SILENT_SECONDS, EndpointError, HealthEndpoint, Pulse
from protocol.runtime.metrics import RoleMetrics
from protocol.storage.counters import COUNTERS, Counters
from protocol.storage.node import start_node


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(clock: Clock) -> Pulse:
    return Pulse(clock)


@pytest.fixture
def metrics() -> RoleMetrics:
    return RoleMetrics("worker", "1.2.3", Counters())


@pytest.fixture
def url(pulse: Pulse, metrics: RoleMetrics) -> Iterator[str]:
    endpoint = HealthEndpoint("127.0.0.1:0", pulse, metrics.registry)
    yield endpoint.url
    endpoint.close()


def test_readiness_follows_the_last_turn(url: str, pulse: Pulse) -> None:
    assert requests.get(f"{url}/health", timeout=5).status_code == 200
    said = requests.get(f"{url}/ready", timeout=5)
    assert (said.status_code, said.json()["trouble"]) == (503, "no block has been read yet")
    pulse.turned()
    assert requests.get(f"{url}/ready", timeout=5).status_code == 200
    pulse.turned("RPC is 40 blocks behind")
    said = requests.get(f"{url}/ready", timeout=5)
    assert (said.status_code, said.json()["trouble"]) == (503, "RPC is 40 blocks behind")
    assert requests.get(f"{url}/health", timeout=5).status_code == 200


def test_store_that_does_not_answer_is_said(url: str, pulse: Pulse, tmp_path: Path) -> None:
    pulse.turned()
    node = start_node(tmp_path / "store")
    heard: list[str | None] = []

    def hear(trouble: str | None) -> None:
        pulse.store(trouble)
        heard.append(trouble)

    probe = StoreProbe([node.api_url], hear, seconds=0.05)
    probe.start()
    until(lambda: heard and heard[-1] is None)
    assert requests.get(f"{url}/ready", timeout=5).status_code == 200
    node.stop()
    until(lambda: heard[-1] is not None)
    said = requests.get(f"{url}/ready", timeout=5)
    assert said.status_code == 503
    assert "the content store does not answer" in said.json()["trouble"]
    probe.stop()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_silent_loop_is_dead_but_a_computing_one_is_not(
    url: str, pulse: Pulse, clock: Clock
) -> None:
    pulse.turned()
    clock.now += SILENT_SECONDS - 1
    assert requests.get(f"{url}/health", timeout=5).status_code == 200
    clock.now += 2
    said = requests.get(f"{url}/health", timeout=5)
    assert (said.status_code, said.json()["alive"]) == (503, False)
    assert requests.get(f"{url}/ready", timeout=5).status_code == 503
    pulse.busy("work")
    clock.now += 100 * SILENT_SECONDS
    said = requests.get(f"{url}/health", timeout=5)
    assert (said.status_code, said.json()["busy"]) == (200, "work")
    pulse.busy(None)  # the turn after an hour's computing is not late
    assert requests.get(f"{url}/health", timeout=5).status_code == 200


def test_metrics_are_what_prometheus_reads(url: str, metrics: RoleMetrics) -> None:
    metrics.acts.labels("sealTasks", "done").inc()
    said = requests.get(f"{url}/metrics", timeout=5)
    assert said.headers["Content-Type"].startswith("text/plain")
    families = {f.name: f for f in text_string_to_metric_families(said.text)}
    acts = {tuple(s.labels.values()): s.value for s in families["gradproof_acts"].samples}
    assert acts["sealTasks", "done"] == 1.0
    assert acts["answer", "failed"] == 0.0, "so that the first one shows as an increase"
    [info] = (
        families["gradproof"].samples
        if "gradproof" in families
        else families["gradproof_info"].samples
    )
    assert info.labels == {"role": "worker", "version": "1.2.3"}
    for name in COUNTERS:
        assert f"gradproof_store_{name}" in families
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert requests.get(f"{url}/metrics", headers=asked, timeout=5).text.endswith("# EOF\n")


def test_nothing_else_is_served(url: str) -> None:
    assert requests.get(f"{url}/", timeout=5).status_code == 404
    assert requests.get(f"{url}/metrics/../secret", timeout=5).status_code == 404
    assert requests.post(f"{url}/metrics", timeout=5).status_code == 501


def test_taken_port_is_said(pulse: Pulse, metrics: RoleMetrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EndpointError, match="GRADPROOF_METRICS"):
            HealthEndpoint(address, pulse, metrics.registry)


@pytest.mark.parametrize("address", ["", "9464", "host:", ":80", "host:99999", "host:http"])
def test_address_that_is_none_is_said(address: str, pulse: Pulse, metrics: RoleMetrics) -> None:
    with pytest.raises(EndpointError, match="is no address"):
        HealthEndpoint(address, pulse, metrics.registry)


def test_six_colons_are_an_address_too(pulse: Pulse, metrics: RoleMetrics) -> None:
    try:
        endpoint = HealthEndpoint("[::1]:0", pulse, metrics.registry)
    except EndpointError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error.why}")
    assert requests.get(f"{endpoint.url}/health", timeout=5).status_code == 200
    endpoint.close()
