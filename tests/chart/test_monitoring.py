"""Monitors, rules and dashboards of the chart are those of deploy/, and reach Prometheus and Grafana whole."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.template import Manifest
from server.engines.discovery.dns import DnsSource, make_url
from server.engines.group import Group
from tests.chart.rendering import NEWEST, OWN, refusal, rendered
from tests.conftest import ROOT
from tests.observe.rule_files import program, selectors

pytestmark = pytest.mark.usefixtures("helms")
RULES = ROOT / "deploy" / "prometheus" / "rules"
DASHBOARDS = ROOT / "deploy" / "grafana" / "json"
MOST_OF_A_CONFIGMAP = 1024**2


def all_of(kind: str, case: str = "own-edge") -> list[Manifest]:
    return [each for each in rendered(NEWEST, case) if each["kind"] == kind]


def named(kind: str, name: str) -> Manifest:
    return next(each for each in all_of(kind) if each["metadata"]["name"] == name)


def labels_after(monitor: Manifest, address: str, folder: Path, **meta: str) -> dict[str, str]:
    """Of a target at `address`: what Prometheus itself makes of the monitor's relabelings."""
    [endpoint] = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
    words = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    steps = [{words.get(key, key): value for key, value in each.items()} for each in endpoint["relabelings"]]
    discovered = {
        "targets": [address],
        "labels": {f"__meta_kubernetes_{name}": value for name, value in meta.items()},
    }
    job = {"job_name": "scraped", "static_configs": [discovered], "relabel_configs": steps}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    command = [program("promtool"), "check", "service-discovery", file, "scraped"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = json.loads(done.stdout)
    labels: dict[str, str] = found["labels"]
    return labels


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = named("PrometheusRule", "fovea")["spec"]["groups"]
    return found


def relabelled(endpoint: dict[str, Any]) -> dict[str, str]:
    """What a monitor puts on every target: a label's text, or what it is taken of."""
    return {
        each["targetLabel"]: each.get("replacement") or each["sourceLabels"][0] for each in endpoint["relabelings"]
    }


def test_groups_of_rules_are_those_of_deploy_but_for_where_runbooks_lie() -> None:
    own = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    told = json.loads(json.dumps(rules()).replace("https://runbooks.example/", "docs/runbooks/"))
    assert told == own
    assert sum("alert" in rule for group in own for rule in group["rules"]) > 20


def test_prometheus_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": rules()}))
    done = subprocess.run([program("promtool"), "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_those_of_deploy_each_in_a_configmap_that_grafana_finds() -> None:
    maps = [each for each in all_of("ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    told = {name: text for each in maps for name, text in each["data"].items()}
    assert told == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}
    assert len(maps) == len(told) > 4
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Fovea"}
        assert sum(len(text.encode()) for text in each["data"].values()) < MOST_OF_A_CONFIGMAP


def test_targets_have_the_jobs_that_rules_ask_for() -> None:
    [gateways], [engines] = all_of("ServiceMonitor"), all_of("PodMonitor")
    told = {
        relabelled(gateways["spec"]["endpoints"][0])["job"],
        relabelled(engines["spec"]["podMetricsEndpoints"][0])["job"],
    }
    asked = {
        each.matchers["job"][1]
        for group in rules()
        for rule in group["rules"]
        for each in selectors(rule["expr"])
        if "job" in each.matchers
    }
    assert told == asked


def test_the_monitor_of_gateways_finds_their_service_and_shows_a_key() -> None:
    [monitor] = all_of("ServiceMonitor")
    service = named("Service", "fovea-gateway")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["authorization"] == {"credentials": {"name": "metrics-key", "key": "key"}}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_no_other_service_of_the_release_is_scraped_as_a_gateway() -> None:
    [monitor] = all_of("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [each["metadata"]["name"] for each in all_of("Service") if wanted <= each["metadata"]["labels"].items()]
    assert found == ["fovea-gateway"]


def test_the_monitor_of_engines_finds_their_pods_and_names_their_pools() -> None:
    [monitor] = all_of("PodMonitor")
    pods = named("Deployment", "fovea-engine-main")["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in pods["spec"]["containers"][0]["ports"]}
    assert relabelled(endpoint)["pool"] == "__meta_kubernetes_pod_label_fovea_dev_pool"
    assert pods["metadata"]["labels"]["fovea.dev/pool"] == "main"


def test_prometheus_calls_an_engine_as_the_gateway_does(tmp_path: Path) -> None:
    """Alerts and dashboards look at both sides of one engine."""
    [monitor] = all_of("PodMonitor")
    address = "10.1.2.3:8000"
    labels = labels_after(monitor, address, tmp_path, pod_label_fovea_dev_pool="main")
    source = DnsSource("engines", 8000, 1)
    assert labels["engine"] == Group("main", source).name_of(make_url("10.1.2.3", 8000))
    assert labels["job"] == "fovea-engine"
    assert (labels["pool"], labels["fovea_release"], labels["instance"]) == ("main", "fovea", address)


@pytest.mark.parametrize(
    "kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule", "InferencePool", "ScaledObject"]
)
def test_what_is_not_asked_for_is_not_made(kind: str) -> None:
    """Of others' kinds: a cluster that does not know them would refuse the release."""
    assert all_of(kind, "own-pools") == []


def test_gateways_that_would_refuse_prometheus_are_not_scraped() -> None:
    said = refusal(NEWEST, OWN / "edge.yaml", "--set-json", 'gateway.config.http.hosts=["fovea.example.com"]')
    assert "monitoring.serviceMonitor scrapes gateways by their addresses" in said
