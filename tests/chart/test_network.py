"""Who may speak to whom by the chart's NetworkPolicies, read as Kubernetes does: pods that none selects may all."""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from helm.template import Manifest
from tests.chart.rendering import NEWEST, cases, rendered

pytestmark = pytest.mark.usefixtures("helms")
OURS = {"app.kubernetes.io/name": "fovea", "app.kubernetes.io/instance": "fovea"}
PORTS = {"gateway": 8080, "engine": 8000}


@dataclass(frozen=True)
class Peer:
    """A pod, or, with an address alone, something outside the cluster."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = "fovea"
    address: str = ""


def ours(component: str, pool: str = "") -> Peer:
    labels = OURS | {"app.kubernetes.io/component": component}
    return Peer(labels | ({"fovea.dev/pool": pool} if pool else {}))


def guarded() -> list[str]:
    """Cases that do not turn policies off."""
    values = {name: yaml.safe_load(files[-1].read_text()) for name, files in cases().items()}
    return [name for name, told in values.items() if told.get("networkPolicy", {}).get("enabled", True)]


STRANGER, ELSEWHERE = Peer({"app": "stranger"}), Peer({"app": "web"}, "apps")
SCRAPER = Peer({"app": "prometheus"}, "monitoring")
INTERNET, METADATA, PRIVATE = (
    Peer(address="93.184.215.14"),
    Peer(address="169.254.169.254"),
    Peer(address="10.1.2.3"),
)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )


def is_peer(told: dict[str, Any], peer: Peer) -> bool:
    if block := told.get("ipBlock"):
        if not peer.address:
            return False
        address = ipaddress.ip_address(peer.address)
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", [])
        )
    if peer.address:
        return False
    if (namespaces := told.get("namespaceSelector")) is not None:
        named = {"kubernetes.io/metadata.name": peer.namespace}
        return selects(namespaces, named) and selects(told.get("podSelector", {}), peer.labels)
    return peer.namespace == "fovea" and selects(told["podSelector"], peer.labels)


def allows(policies: list[Manifest], way: str, pod: Peer, peer: Peer, port: int) -> bool:
    """`way` is ingress or egress, of `pod`."""
    mine = [
        each["spec"]
        for each in policies
        if pod.namespace == "fovea"
        and not pod.address
        and selects(each["spec"]["podSelector"], pod.labels)
        and way.title() in each["spec"]["policyTypes"]
    ]
    peers = {"ingress": "from", "egress": "to"}[way]
    of_http = PORTS.get((pod if way == "ingress" else peer).labels.get("app.kubernetes.io/component", ""), 0)
    return not mine or any(
        (peers not in rule or any(is_peer(each, peer) for each in rule[peers]))
        and (
            "ports" not in rule
            or port in [of_http if each["port"] == "http" else each["port"] for each in rule["ports"]]
        )
        for spec in mine
        for rule in spec.get(way, [])
    )


def reaches(case: str, caller: Peer, called: Peer, port: int) -> bool:
    policies = [each for each in rendered(NEWEST, case) if each["kind"] == "NetworkPolicy"]
    assert policies
    return allows(policies, "egress", caller, called, port) and allows(policies, "ingress", called, caller, port)


def pools(case: str) -> list[str]:
    services = [each["metadata"]["labels"] for each in rendered(NEWEST, case) if each["kind"] == "Service"]
    return sorted({each["fovea.dev/pool"] for each in services if each["app.kubernetes.io/component"] == "engine"})


@pytest.mark.parametrize("case", guarded())
def test_gateways_reach_engines_and_strangers_do_not(case: str) -> None:
    for pool in pools(case):
        assert reaches(case, ours("gateway"), ours("engine", pool), 8000)
        for other in (STRANGER, ELSEWHERE, INTERNET, ours("test"), ours("download"), ours("quantize")):
            assert not reaches(case, other, ours("engine", pool), 8000), other
        assert not reaches(case, ours("gateway"), ours("engine", pool), 22)


@pytest.mark.parametrize("case", guarded())
def test_engines_call_nobody_outside(case: str) -> None:
    for pool in pools(case):
        for other in (INTERNET, METADATA, PRIVATE, STRANGER, ours("gateway")):
            assert not reaches(case, ours("engine", pool), other, 443), other
            assert not reaches(case, ours("engine", pool), other, 8080), other


@pytest.mark.parametrize("case", guarded())
@pytest.mark.parametrize("component", ["gateway", "download"])
def test_who_fetches_reaches_the_internet_and_no_address_of_the_clusters(case: str, component: str) -> None:
    assert reaches(case, ours(component), INTERNET, 443)
    for other in (METADATA, PRIVATE, Peer(address="127.0.0.1"), Peer(address="100.64.0.1"), STRANGER):
        assert not reaches(case, ours(component), other, 443), other
    for address in ("fd00::1", "fe80::1", "::1", "64:ff9b::a01:203"):
        assert not reaches(case, ours(component), Peer(address=address), 443), address
    assert not reaches(case, ours(component), INTERNET, 80)


@pytest.mark.parametrize("case", guarded())
def test_names_are_looked_up_and_helms_test_reaches_the_gateway(case: str) -> None:
    for component in ("gateway", "engine", "download", "test"):
        assert reaches(case, ours(component), PRIVATE, 53)
    assert reaches(case, ours("test"), ours("gateway"), 8080)
    assert not reaches(case, ours("test"), INTERNET, 443)


def test_by_default_the_gateway_serves_its_own_namespace() -> None:
    assert reaches("h100-x1", STRANGER, ours("gateway"), 8080)
    for other in (ELSEWHERE, INTERNET):
        assert not reaches("h100-x1", other, ours("gateway"), 8080)


def test_who_is_named_is_let_in_and_nobody_else() -> None:
    assert reaches("own-everything", ELSEWHERE, ours("gateway"), 8080)
    assert not reaches("own-everything", STRANGER, ours("gateway"), 8080)
    assert reaches("own-everything", SCRAPER, ours("gateway"), 8080)
    assert reaches("own-everything", SCRAPER, ours("engine", "main"), 8000)
    assert reaches("own-everything", ours("engine", "main"), Peer({"app": "valkey"}), 6379)


def test_a_gate_asks_its_base_and_its_candidate() -> None:
    for pool, asked in (("main", True), ("base", True), ("canary", False)):
        assert reaches("own-everything", ours("gate"), ours("engine", pool), 8000) is asked
