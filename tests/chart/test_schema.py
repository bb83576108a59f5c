"""The schema refuses wrong values, each by its name and in words that say what would be right, by either Helm."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from helm.template import CHART, HELMS
from tests.chart.complaints import (
    ROOT,
    Complaints,
    batches,
    closed_objects,
    complaints,
    open_objects,
    resolved,
    with_value,
)
from tests.chart.rendering import refusal

pytestmark = pytest.mark.usefixtures("helms")
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
NONSENSE = "nonsense"

# A wrong value, and what Helm 4 says of it. (Helm 3 has other words, and is held to name the key.)
WRONG: list[tuple[str, Any, str]] = [
    ("fullnameOverride", "Upper_Case", "does not match pattern"),
    ("image.registry", "https://registry.example.com", "does not match pattern"),
    ("image.tag", "with space", "does not match pattern"),
    ("image.tag", 1.0, "want string"),
    ("image.pullPolicy", "Sometimes", "one of 'Always', 'IfNotPresent', 'Never'"),
    ("image.pullSecrets", "registry-login", "want array"),
    ("image.pullSecrets.0.name", "", "minLength: got 0, want 1"),
    ("gateway.image.digest", "sha256:abc", "does not match pattern"),
    ("gateway.image.repository", "", "minLength|does not match pattern"),
    ("gateway.replicas", "2", "got string, want integer"),
    ("gateway.replicas", 0, "minimum: got 0, want 1"),
    ("gateway.workers", 1.5, "want integer"),
    ("gateway.bytesInFlight", "512MB", "does not match pattern"),
    ("gateway.bytesInFlight", 536870912, "want string"),
    ("gateway.config", "engines: {}", "want object"),
    ("gateway.keysSecret", "fovea-keys", "want object"),
    ("gateway.keysSecret.key", "", "minLength: got 0, want 1"),
    ("gateway.allowAnonymous", "true", "got string, want boolean"),
    ("gateway.env.0.value", 8080, "got number, want string"),
    ("gateway.env.0.name", "", "minLength: got 0, want 1"),
    ("gateway.podLabels.shard", 3, "want string"),
    ("gateway.nodeSelector.ssd", True, "want string"),
    ("gateway.resources.limits.memory", ["1Gi"], "got array, want number or integer or string"),
    ("gateway.pdb.maxUnavailable", 0, "minimum: got 0, want 1|want string"),
    ("gateway.pdb.maxUnavailable", "200%", "does not match pattern|want integer"),
    ("gateway.service.type", "ExternalName", "one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
    ("gateway.service.port", 70000, "maximum: got 70,000, want 65,535"),
    ("gateway.service.loadBalancerSourceRanges", "0.0.0.0/0", "want array"),
    ("gateway.autoscaling.cpuPercent", 0, "minimum: got 0, want 1"),
    ("gateway.shutdown.drainSeconds", -1, "minimum: got -1, want 0"),
    ("engine.port", 80, "minimum: got 80, want 1,024"),
    ("quantize.backoffLimit", -1, "minimum: got -1, want 0"),
    ("quantize.activeDeadlineSeconds", "6h", "got string, want integer"),
    ("servePolicy", "verified", "one of 'requireVerified', 'requireGated', 'none'"),
    ("modelStore.size", "100GB", "does not match pattern"),
    ("modelStore.accessModes", [], "minItems: got 0, want 1"),
    ("modelStore.retain", "yes", "got string, want boolean"),
    ("security.uid", 0, "minimum: got 0, want 1"),
    ("networkPolicy.gatewayFrom", {"podSelector": {}}, "want array"),
    ("networkPolicy.gatewayFrom.0.ipBlock.cidr", "", "minLength: got 0, want 1"),
    ("ingress.controller", "haproxy", "one of 'nginx', 'traefik', 'none'"),
    ("ingress.hosts", "vision.example.com", "want array"),
    ("httpRoute.parentRefs.0.port", 0, "minimum: got 0, want 1"),
    ("inferencePool.endpointPicker.failureMode", "Open", "one of 'FailOpen', 'FailClose'"),
    ("monitoring.serviceMonitor.interval", "15", "does not match pattern"),
    ("monitoring.dashboards.labels.grafana_dashboard", 1, "want string"),
    ("test.timeoutSeconds", 0, "minimum: got 0, want 1"),
    ("pools", {"main": {}}, "got object, want array"),
    ("pools.0", {"preset": "l4"}, "missing propert"),
    ("pools.0.preset", 4, "want string"),
    ("pools.0.model.name", "with space", "does not match pattern"),
    ("pools.0.model.path", "../../etc", "does not match pattern"),
    ("pools.0.model.path", "/models/a", "does not match pattern"),
    ("pools.0.source.hub.repository", "Qwen3.5-9B", "does not match pattern"),
    ("pools.0.source.hub", {"revision": "main"}, "missing propert.*'repository'"),
    ("pools.0.source.s3.url", "https://bucket.s3.example.com/model", "does not match pattern"),
    ("pools.0.source.s3", {"secret": "s3"}, "missing propert.*'url'"),
    ("pools.0.source.pvc.claimName", "", "minLength: got 0, want 1"),
    ("pools.0.source.oci", "registry.example.com/model:1", "got string, want object"),
    ("pools.0.quantize.enabled", "yes", "got string, want boolean"),
    ("pools.0.replicas", -1, "minimum: got -1, want 0"),
    ("pools.0.tensorParallel", 0, "minimum: got 0, want 1"),
    ("pools.0.tensorParallel", "2", "got string, want integer"),
    ("pools.0.contextTokens", "32k", "got string, want integer"),
    ("pools.0.imagesPerRequest", -1, "minimum: got -1, want 0"),
    ("pools.0.kvCacheDtype", "fp4", "one of 'auto', 'bfloat16', 'fp8', 'fp8_e4m3'"),
    ("pools.0.gpuMemoryUtilization", 92, "maximum: got 92, want 1"),
    ("pools.0.extraArgs", "--max-num-seqs 8", "want array"),
    ("pools.0.weight", "10%", "got string, want number"),
    ("pools.0.gpu.resource", "gpu", "does not match pattern"),
    ("pools.0.embeddingCache.host", "4GB", "does not match pattern"),
    ("pools.0.embeddingCache.disk.type", "hostPath", "one of 'emptyDir', 'ephemeral', 'existingClaim'"),
    ("pools.0.embeddingCache.ttl", "a month", "does not match pattern"),
    ("pools.0.embeddingCache.compress", "zstd", "one of 'none', 'fp8-row'"),
    ("pools.0.strategy.type", "OnDelete", "one of 'Recreate', 'RollingUpdate'"),
    ("pools.0.startup.storeMBps", 0, "minimum: got 0, want 1"),
    ("pools.0.shm", "2G", "does not match pattern"),
    ("pools.0.tolerations", {"key": "gpu"}, "want array"),
    ("pools.0.autoscaling.kind", "cpu", "one of 'keda', 'hpa'"),
    ("pools.0.autoscaling.kvUsage", 80, "maximum: got 80, want 1"),
    ("pools.0.leaderWorkerSet.size", 1, "minimum: got 1, want 2"),
    ("poolDefaults.replicas", "two", "got string, want integer"),
]


@cache
def said_of_wrong(helm: str, folder: Path) -> dict[int, Complaints]:
    """What each complaint of WRONG was answered with; few runs of Helm say it all."""
    found: dict[int, Complaints] = {}
    for number, batch in enumerate(batches([path for path, _, _ in WRONG])):
        values: dict[str, Any] = {}
        for index in batch:
            with_value(values, WRONG[index][0], WRONG[index][1])
        said = complaints(refused(helm, folder / f"{helm}-{number}.yaml", values))
        found |= dict.fromkeys(batch, said)
    return found


def refused(helm: str, file: Path, values: dict[str, Any]) -> str:
    file.write_text(yaml.safe_dump(values))
    said = refusal(helm, file)
    assert "values don't meet the specifications of the schema" in said, said
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("values")


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("index", range(len(WRONG)), ids=[f"{path}={value}" for path, value, _ in WRONG])
def test_a_wrong_value_is_refused_by_its_name(helm: str, index: int, folder: Path) -> None:
    path, _, words = WRONG[index]
    said = said_of_wrong(helm, folder)[index]
    # Where something is missing, Helm 3 names what it is missing in.
    assert path in said, said
    if helm == HELMS[-1]:
        assert any(re.search(words, line) for line in said[path]), said[path]


def test_the_schema_itself_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@cache
def said_of_unknown(helm: str, folder: Path) -> Complaints:
    values: dict[str, Any] = {}
    for path in closed_objects(SCHEMA, SCHEMA):
        with_value(values, NONSENSE if path == ROOT else f"{path}.{NONSENSE}", 1)
    return complaints(refused(helm, folder / f"unknown-{helm}.yaml", values))


@pytest.mark.parametrize("helm", HELMS)
def test_an_unknown_key_is_refused_wherever_it_stands(helm: str, folder: Path) -> None:
    said = said_of_unknown(helm, folder)
    wanted = set(closed_objects(SCHEMA, SCHEMA))
    assert len(wanted) > 100
    told = {
        path for path, lines in said.items() if any(NONSENSE in line and "not allowed" in line for line in lines)
    }
    assert wanted - told == set()


# Maps whose keys are Kubernetes', the cluster's or the gateway's own: who reads them refuses what they do not know.
OPEN = re.compile(
    r"global|gateway\.config|.*\.preprocessorConfig|.*\.gate\.policy\.retention"
    r"|.*\.(valueFrom|configMapRef|secretRef|requests|limits|nodeSelector|affinity|constraints\.0|tolerations\.0)"
    r"|.*\.(podLabels|podAnnotations|annotations|labels|podSelector|namespaceSelector|ports\.0)"
    r"|.*\.(extraVolumes|extraVolumeMounts)\.0"
)


def test_maps_that_take_any_key_are_those_of_others() -> None:
    assert [path for path in open_objects(SCHEMA, SCHEMA) if not OPEN.fullmatch(path)] == []


def keys(values: Any, node: dict[str, Any], path: str) -> Iterator[str]:
    """Paths of `values` and of what the schema says of them that are in one of the two alone."""
    node = resolved(node, SCHEMA)
    known = node.get("properties")
    if known is None or not isinstance(values, dict):
        return
    for name in sorted(known.keys() ^ values.keys()):
        yield f"{path}{name}"
    for name in sorted(known.keys() & values.keys()):
        if values[name]:
            yield from keys(values[name], known[name], f"{path}{name}.")


def test_values_and_schema_know_the_same_keys() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert list(keys(values, SCHEMA, "")) == ["global"]
    defaults = yaml.safe_load((CHART / "pool-defaults.yaml").read_text())
    assert list(keys(defaults, SCHEMA["$defs"]["poolDefaults"], "")) == []
    assert list(keys(defaults, SCHEMA["$defs"]["pool"], "")) == ["name"]


@pytest.mark.parametrize("file", ["values.yaml", "pool-defaults.yaml"])
def test_the_charts_own_values_satisfy_the_schema(file: str) -> None:
    """But for a pool's name and model, which have no default."""
    values = yaml.safe_load((CHART / file).read_text())
    wanted = SCHEMA if file == "values.yaml" else {**SCHEMA["$defs"]["poolDefaults"], "$defs": SCHEMA["$defs"]}
    if file == "pool-defaults.yaml":
        values["model"]["name"] = "a"
    assert list(jsonschema.Draft7Validator(wanted).iter_errors(values)) == []


# What Kubernetes, or whose kind it is, describes.
DESCRIBED_BY_OTHERS = re.compile(
    r".*\.(env|envFrom|pullSecrets|gatewayFrom|engineFrom|metricsFrom|to|gatewayEgress|engineEgress|jobsEgress|tls"
    r"|parentRefs)\.0\..*|.*\.strategy\..*"
)


def leaves(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    shape = resolved(node, SCHEMA)
    for name, child in shape.get("properties", {}).items():
        yield from leaves(child, f"{path}.{name}")
    if "items" in shape:
        yield from leaves(shape["items"], f"{path}.0")
    elif "properties" not in shape and not path.endswith(".0"):
        yield path, {**shape, **node}


def test_every_value_has_a_description() -> None:
    bare = [path for path, node in leaves(SCHEMA, "") if not node.get("description")]
    assert [path for path in bare if not DESCRIBED_BY_OTHERS.fullmatch(path)] == []
