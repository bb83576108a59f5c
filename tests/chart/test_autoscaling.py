"""Pools are scaled by series that are told, by queries that Prometheus reads, and no faster than models start."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.template import Manifest, find_helm, objects, render
from tests.chart.rendering import NEWEST, OWN, refusal, rendered
from tests.chart.test_monitoring import relabelled
from tests.observe.declared import TARGET_LABELS, series
from tests.observe.rule_files import program, selectors

pytestmark = pytest.mark.usefixtures("helms")
CASES = ("own-edge", "own-nodes")
# What the Prometheus operator puts on every target besides.
OPERATORS_LABELS = {"namespace", "pod", "container", "endpoint", "service"}
MOST_WINDOW_S, MOST_PERIOD_S = 3600, 1800  # Kubernetes takes no more


def scaled(kind: str, case: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in rendered(NEWEST, case) if each["kind"] == kind}


def of_keda() -> Iterator[tuple[str, str]]:
    """Where, and what is asked."""
    for case in CASES:
        for name, each in scaled("ScaledObject", case).items():
            for trigger in each["spec"]["triggers"]:
                if trigger["type"] == "prometheus":
                    yield f"{case} {name} {trigger['name']}", trigger["metadata"]["query"]


def recorded() -> list[dict[str, Any]]:
    """For HPAs."""
    [made] = scaled("PrometheusRule", "own-nodes").values()
    found: list[dict[str, Any]] = made["spec"]["groups"]
    return found


def queries() -> dict[str, str]:
    return {**dict(of_keda()), **{rule["record"]: rule["expr"] for group in recorded() for rule in group["rules"]}}


def test_everything_that_is_asked_for_is_told_with_these_labels() -> None:
    assert len(queries()) == 10
    [gateways], [engines] = (scaled(kind, "own-edge").values() for kind in ("ServiceMonitor", "PodMonitor"))
    endpoints = (gateways["spec"]["endpoints"][0], engines["spec"]["podMetricsEndpoints"][0])
    gateways_own, engines_own = ({*relabelled(each), *OPERATORS_LABELS} for each in endpoints)
    for place, query in queries().items():
        for selector in selectors(query):
            told = series().get(selector.name)
            assert told is not None, f"{place}: nothing tells {selector.name}"
            on_target = engines_own if selector.name.startswith("vllm:") else gateways_own
            assert selector.matchers.keys() <= told.labels | TARGET_LABELS | on_target, f"{place}: {selector}"


def test_models_that_are_asked_for_are_those_that_pools_serve() -> None:
    asked = {
        selector.matchers[label][1]
        for query in queries().values()
        for selector in selectors(query)
        for label in ("model", "model_name")
        if label in selector.matchers
    }
    assert asked == {"vision", "large", "small"}


def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    made = [{"record": f"asked_{number}", "expr": query} for number, query in enumerate(queries().values())]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [*recorded(), {"name": "asked", "rules": made}]}))
    done = subprocess.run([program("promtool"), "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


OWN_LABELS = 'namespace="fovea",fovea_release="fovea"'
UP = f'up{{job="fovea-gateway",{OWN_LABELS}}}'
WAITED = f'fovea_admission_wait_seconds_sum{{{OWN_LABELS},model="small",priority="normal"}}'
WAITERS = WAITED.replace("_sum", "_count")
SERVED = f'vllm:request_success_total{{{OWN_LABELS},pool="small",model_name="small"}}'
SERVED_LARGE = SERVED.replace('"small"', '"large"')
IMAGE_TOKENS = f"fovea_image_tokens_sum{{{OWN_LABELS}}}"
KV = f'vllm:kv_cache_usage_perc{{{OWN_LABELS},pool="small",model_name="small",pod="POD"}}'

# What is there, a second's growth or a value, and what each query then answers.
MEANINGS: dict[str, tuple[dict[str, float], dict[str, float | None]]] = {
    "nothing has waited yet": (
        {UP: 1, SERVED: 10, IMAGE_TOKENS: 100, KV: 0.5},
        {"queue_wait_seconds": 0, "image_tokens_per_second": 100, "kv_usage_ratio": 0.5},
    ),
    "half of the requests wait for four seconds": (
        {UP: 1, SERVED: 10, WAITED: 20, WAITERS: 5, IMAGE_TOKENS: 0, KV: 0},
        {"queue_wait_seconds": 2, "image_tokens_per_second": 0, "kv_usage_ratio": 0},
    ),
    "everything waits, and nothing is served": (
        {UP: 1, SERVED: 0, WAITED: 60, WAITERS: 2, IMAGE_TOKENS: 50, KV: 1},
        {"queue_wait_seconds": 30, "image_tokens_per_second": 0, "kv_usage_ratio": 1},
    ),
    "a quarter of the requests is this pool's; its two engines are not alike": (
        {
            UP: 1,
            SERVED: 1,
            SERVED_LARGE: 3,
            IMAGE_TOKENS: 400,
            KV.replace("POD", "a"): 0.2,
            KV.replace("POD", "b"): 0.6,
        },
        {"queue_wait_seconds": 0, "image_tokens_per_second": 100, "kv_usage_ratio": 0.4},
    ),
    "Prometheus has lost all of them": (
        {},
        {"queue_wait_seconds": None, "image_tokens_per_second": None, "kv_usage_ratio": None},
    ),
}


def test_queries_mean_what_they_are_for(tmp_path: Path) -> None:
    """In a real Prometheus' engine: ten minutes of a load each."""
    asked = {rule["record"].removeprefix("fovea_pool_"): rule["expr"] for rule in recorded()[0]["rules"]}
    tests = [
        {
            "interval": "15s",
            "input_series": [{"series": name, "values": values(name, each)} for name, each in given.items()],
            "promql_expr_test": [
                {"expr": asked[name], "eval_time": "10m", "exp_samples": samples(value)}
                for name, value in wanted.items()
            ],
        }
        for given, wanted in MEANINGS.values()
    ]
    file = tmp_path / "meanings.yml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    done = subprocess.run([program("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def values(name: str, each: float) -> str:
    """Counters grow by `each` a second, scraped every 15."""
    is_counter = re.match(r"\w*(?::\w+)?(_total|_sum|_count)\{", name)
    return f"0+{each * 15}x60" if is_counter else f"{each}+0x60"


def samples(value: float | None) -> list[dict[str, Any]]:
    return [] if value is None else [{"labels": "{}", "value": value}]


def test_an_empty_answer_is_an_error_and_no_reason_to_scale_down() -> None:
    for case in CASES:
        for each in scaled("ScaledObject", case).values():
            for trigger in each["spec"]["triggers"]:
                if trigger["type"] == "prometheus":
                    assert trigger["metadata"]["ignoreNullValues"] == "false"
                    assert float(trigger["metadata"]["threshold"]) > 0


def test_engines_are_never_scaled_by_cpu() -> None:
    for case in CASES:
        engines = {
            **{name: each for name, each in scaled("ScaledObject", case).items() if "-engine-" in name},
            **{name: each for name, each in scaled("HorizontalPodAutoscaler", case).items() if "-engine-" in name},
        }
        assert engines
        for each in engines.values():
            kinds = {trigger["type"] for trigger in each["spec"].get("triggers", each["spec"].get("metrics"))}
            assert kinds in ({"prometheus"}, {"External"})


def test_shares_are_values_and_rates_are_for_each_engine() -> None:
    """KV usage of twice as many engines is half as much only where the load is: it is no sum to be shared out."""
    [engine] = (each for name, each in scaled("ScaledObject", "own-edge").items() if "-engine-" in name)
    assert {trigger["name"]: trigger["metricType"] for trigger in engine["spec"]["triggers"]} == {
        "fovea_pool_queue_wait_seconds": "Value",
        "fovea_pool_kv_usage_ratio": "Value",
        "fovea_pool_image_tokens_per_second": "AverageValue",
    }
    hpa = scaled("HorizontalPodAutoscaler", "own-nodes")["fovea-engine-small"]
    targets = {each["external"]["metric"]["name"]: each["external"]["target"] for each in hpa["spec"]["metrics"]}
    assert targets == {
        "fovea_pool_queue_wait_seconds": {"type": "Value", "value": "2000m"},
        "fovea_pool_kv_usage_ratio": {"type": "Value", "value": "800m"},
        "fovea_pool_image_tokens_per_second": {"type": "AverageValue", "averageValue": "500000m"},
    }


def test_an_hpa_selects_what_the_rule_for_it_records() -> None:
    hpa = scaled("HorizontalPodAutoscaler", "own-nodes")["fovea-engine-small"]
    recorded_by = {rule["record"]: rule["labels"] for group in recorded() for rule in group["rules"]}
    for each in hpa["spec"]["metrics"]:
        metric = each["external"]["metric"]
        assert metric["selector"]["matchLabels"].items() <= recorded_by[metric["name"]].items()
        assert recorded_by[metric["name"]]["namespace"] == "fovea"


def start_seconds(manifest: Manifest) -> int:
    template = (
        manifest["spec"].get("leaderWorkerTemplate", {}).get("leaderTemplate", manifest["spec"].get("template"))
    )
    probe = template["spec"]["containers"][0]["startupProbe"]
    found: int = probe["periodSeconds"] * probe["failureThreshold"]
    return found


@pytest.mark.parametrize(
    ("startup", "window_s", "period_s"), [("300", 600, 300), ("900", 1800, 900), ("3000", 3600, 1800)]
)
def test_nothing_goes_away_sooner_than_it_could_come_back(startup: str, window_s: int, period_s: int) -> None:
    helm = find_helm(NEWEST)
    assert helm is not None
    manifests = objects(
        render(helm, "--values", str(OWN / "edge.yaml"), "--set", f"poolDefaults.startup.seconds={startup}")
    )
    made = {(each["kind"], each["metadata"]["name"]): each for each in manifests}
    spec = made["ScaledObject", "fovea-engine-main"]["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert start_seconds(made["Deployment", "fovea-engine-main"]) == int(startup)
    assert int(startup) < behavior["scaleDown"]["stabilizationWindowSeconds"] == window_s <= MOST_WINDOW_S
    for way in ("scaleUp", "scaleDown"):
        assert {each["periodSeconds"] for each in behavior[way]["policies"]} == {period_s}
        assert period_s <= MOST_PERIOD_S


def test_what_is_scaled_exists_and_says_no_number_of_its_own() -> None:
    met = 0
    for case in CASES:
        objects_by = {(each["kind"], each["metadata"]["name"]): each for each in rendered(NEWEST, case)}
        for (kind, _), each in objects_by.items():
            if kind in ("ScaledObject", "HorizontalPodAutoscaler"):
                target = each["spec"]["scaleTargetRef"]
                found = objects_by[target["kind"], target["name"]]
                assert found["apiVersion"] == target["apiVersion"]
                assert "replicas" not in found["spec"], "an upgrade would undo what was scaled"
                met += 1
    assert met == 5


def test_gateways_are_scaled_by_cpu_and_by_requests_in_flight() -> None:
    gateway = scaled("ScaledObject", "own-nodes")["fovea-gateway"]
    assert [trigger["type"] for trigger in gateway["spec"]["triggers"]] == ["cpu", "prometheus"]
    [cpu] = scaled("HorizontalPodAutoscaler", "own-edge")["fovea-gateway"]["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ('autoscaling.prometheusAddress=""', "which Prometheus shall KEDA ask?"),
        (
            'poolDefaults.autoscaling={"queueWaitSeconds": 0, "kvUsage": 0}',
            "pool 'main': autoscaling has nothing to go by: set queueWaitSeconds, kvUsage or imageTokens",
        ),
        ('poolDefaults.autoscaling={"min": 9}', "min 9 is above max 4"),
        ('poolDefaults.autoscaling={"min": 0}', "min"),
        ('poolDefaults.autoscaling={"kvUsage": 80}', "kvUsage"),
        ('poolDefaults.autoscaling={"cpu": 80}', "cpu"),
    ],
)
def test_what_cannot_work_is_refused(said: str, sentence: str) -> None:
    pool = 'pools=[{"name": "main", "preset": "h100", "model": {"name": "a"}, "autoscaling": {"enabled": true}}]'
    assert sentence in refusal(NEWEST, OWN / "edge.yaml", "--set-json", pool, "--set-json", said)
