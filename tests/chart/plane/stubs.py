"""Kinds that others bring to a cluster, as far as the API server has to know them: any content is right."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chart.plane.api import Api, Object

KINDS = {
    "monitoring.coreos.com/v1": ("ServiceMonitor", "PodMonitor", "PrometheusRule"),
    "gateway.networking.k8s.io/v1": ("HTTPRoute",),
    "gateway.envoyproxy.io/v1alpha1": ("BackendTrafficPolicy", "ClientTrafficPolicy"),
    "keda.sh/v1alpha1": ("ScaledObject",),
    "inference.networking.k8s.io/v1": ("InferencePool",),
    "leaderworkerset.x-k8s.io/v1": ("LeaderWorkerSet",),
}
ESTABLISHED_S = 180


@contextmanager
def stubs(api: Api) -> Iterator[None]:
    """All of KINDS, for as long as the block lasts."""
    made = [definition(group, kind) for group, kinds in KINDS.items() for kind in kinds]
    for each in made:
        api.create("customresourcedefinitions", "", each)
    names = {each["metadata"]["name"] for each in made}
    try:
        deadline = time.monotonic() + ESTABLISHED_S
        while not names <= established(api):
            assert time.monotonic() < deadline, names - established(api)
            time.sleep(0.1)
        yield
    finally:
        for name in names:
            api.delete("customresourcedefinitions", "", name)


def established(api: Api) -> set[str]:
    return {
        each["metadata"]["name"]
        for each in api.list("customresourcedefinitions")
        for condition in each["status"].get("conditions") or []
        if (condition["type"], condition["status"]) == ("Established", "True")
    }


def definition(group_version: str, kind: str) -> Object:
    group, version = group_version.split("/")
    plural = kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        # Without a word of approval, names under k8s.io are not served.
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, in a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [served],
        },
    }
