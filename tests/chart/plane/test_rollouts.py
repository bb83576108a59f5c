"""Rollouts where every GPU is taken: Kubernetes' own scheduler, and a node with as many GPUs as the pool takes."""

from typing import Any

import pytest

from tests.chart.plane.conftest import Plane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import wait_until
from tests.chart.plane.test_releases import pods, small

pytestmark = pytest.mark.timeout(2400)


def full(plane: Plane, namespace: str, gpus: int, **pool: Any) -> dict[str, Any]:
    """Values of a pool that fits a node of its own exactly."""
    plane.kubelet.add_node(f"full-{namespace}", gpus, taint=f"full-{namespace}", full=namespace)
    own = {"key": f"full-{namespace}", "operator": "Exists"}
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists"}
    return small(nodeSelector={"full": namespace}, tolerations=[own, gpu], gpu={"perNode": gpus}, **pool)


def changed(values: dict[str, Any], **pool: Any) -> dict[str, Any]:
    return values | {"pools": [values["pools"][0] | pool]}


@pytest.mark.parametrize(
    ("gpus", "pool"), [(2, {"replicas": 2}), (2, {"tensorParallel": 2})], ids=["two engines", "one of two GPUs"]
)
def test_an_upgrade_of_engines_ends_where_every_gpu_is_taken(
    gpus: int, pool: dict[str, Any], plane: Plane, helm: Helm, namespace: str
) -> None:
    values = full(plane, namespace, gpus, **pool)
    helm.install("fovea", namespace, values)
    before = pods(plane, namespace, "engine")
    helm.upgrade("fovea", namespace, changed(values, contextTokens=8192))
    after = pods(plane, namespace, "engine")
    assert len(after) == len(before)
    assert not after.keys() & before.keys()
    assert {each["spec"]["nodeName"] for each in after.values()} == {f"full-{namespace}"}


def test_with_a_surge_the_same_upgrade_would_wait_for_ever(plane: Plane, helm: Helm, namespace: str) -> None:
    """That the test above can fail: this is what Kubernetes does where nobody says otherwise."""
    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    values = full(plane, namespace, 2, replicas=2, strategy=surge)
    helm.install("fovea", namespace, values)
    before = pods(plane, namespace, "engine")
    helm.upgrade("fovea", namespace, changed(values, contextTokens=8192), wait=False)

    def refused() -> list[str]:
        new = [pod for uid, pod in pods(plane, namespace, "engine").items() if uid not in before]
        return [each["message"] for pod in new for each in pod["status"].get("conditions", []) if "message" in each]

    wait_until(refused, "a new engine that cannot be scheduled")
    assert "Insufficient nvidia.com/gpu" in refused()[0]
    assert before.keys() < pods(plane, namespace, "engine").keys()
