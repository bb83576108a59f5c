"""What each Kubernetes says of its own kinds: the strict OpenAPI schemas that kubernetes-validate carries.

Its own `validate` reads a megabyte anew at each call; here a Kubernetes' schemas are read once. A test holds both
to the same answers.
"""

import importlib.resources
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import referencing

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
SCHEMAS = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema"

# Kinds of others, and who says what they look like. Those without a schema here are not checked against one.
CUSTOM_KINDS = {
    "monitoring.coreos.com/v1 ServiceMonitor": "prometheus-operator",
    "monitoring.coreos.com/v1 PodMonitor": "prometheus-operator",
    "monitoring.coreos.com/v1 PrometheusRule": "prometheus-operator; promtool reads the rules (tests/observe)",
    "gateway.networking.k8s.io/v1 HTTPRoute": "Gateway API",
    "gateway.envoyproxy.io/v1alpha1 BackendTrafficPolicy": "Envoy Gateway",
    "gateway.envoyproxy.io/v1alpha1 ClientTrafficPolicy": "Envoy Gateway",
    "inference.networking.k8s.io/v1 InferencePool": "Gateway API Inference Extension",
    "keda.sh/v1alpha1 ScaledObject": "KEDA",
    "keda.sh/v1alpha1 TriggerAuthentication": "KEDA",
    "leaderworkerset.x-k8s.io/v1 LeaderWorkerSet": "LeaderWorkerSet; its pods are checked as pods",
}


def kind_of(manifest: dict[str, Any]) -> str:
    return f"{manifest['apiVersion']} {manifest['kind']}"


def named(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def mistakes(manifest: dict[str, Any], version: str) -> Iterator[str]:
    """A sentence for each; KeyError where this Kubernetes does not know the kind."""
    for error in validator(kind_of(manifest), version).iter_errors(manifest):
        place = ".".join(str(step) for step in error.absolute_path)
        yield f"{named(manifest)} on Kubernetes {version}: {place}: {error.message[:300]}"


@cache
def validator(kind: str, version: str) -> jsonschema.Draft202012Validator:
    api_version, name = kind.split()
    # rbac.authorization.k8s.io/v1 -> rbac-v1
    place = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = folder(version) / f"{name.lower()}-{place}.json"
    if not file.is_file():
        raise KeyError(f"Kubernetes {version} has no {kind}")
    return jsonschema.Draft202012Validator(json.loads(file.read_text()), registry=definitions(version))


def folder(version: str) -> Any:
    return SCHEMAS / f"v{version}.0-local-strict"


@cache
def definitions(version: str) -> referencing.Registry[Any]:
    shared = referencing.Resource.from_contents(json.loads((folder(version) / "_definitions.json").read_text()))
    return shared @ referencing.Registry()
