"""What is named and not there is said in one sentence where people look for it, and mends itself when it comes."""

import base64
from typing import Any

import pytest

from tests.chart.plane.conftest import Plane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import wait_until
from tests.chart.plane.test_releases import SMALL, pods, small

pytestmark = pytest.mark.timeout(2400)


def messages(plane: Plane, namespace: str, reason: str) -> list[str]:
    return [each["message"] for each in plane.api.list("events", namespace) if each["reason"] == reason]


def put_secret(plane: Plane, namespace: str, name: str, key: str) -> None:
    data = {key: base64.b64encode(b"keys: []").decode()}
    plane.api.create("secrets", namespace, {"metadata": {"name": name}, "data": data})


def test_gateways_without_their_keys_say_which_secret_and_start_when_it_comes(
    plane: Plane, helm: Helm, namespace: str
) -> None:
    values = SMALL | {"gateway": {"replicas": 1, "keysSecret": {"name": "api-keys"}}}
    helm.install("fovea", namespace, values, wait=False)
    wait_until(lambda: messages(plane, namespace, "FailedMount"), "the event")
    assert messages(plane, namespace, "FailedMount") == [
        'MountVolume.SetUp failed for volume "keys" : secret "api-keys" not found'
    ]
    (gateway,) = pods(plane, namespace, "gateway").values()
    assert gateway["status"]["phase"] == "Pending"
    put_secret(plane, namespace, "api-keys", "keys.yaml")
    helm.upgrade("fovea", namespace, values)
    assert gateway["metadata"]["uid"] in pods(plane, namespace, "gateway")


def test_a_download_without_its_token_says_which_secret(plane: Plane, helm: Helm, namespace: str) -> None:
    source = {"hub": {"repository": "ORG/NAME", "tokenSecret": {"name": "hub", "key": "token"}}}
    helm.install("fovea", namespace, small(source=source), wait=False)

    def waiting() -> list[dict[str, Any]]:
        found = [
            each["state"].get("waiting", {})
            for pod in pods(plane, namespace, "download").values()
            for each in pod["status"].get("containerStatuses", [])
        ]
        return [each for each in found if each.get("reason") == "CreateContainerConfigError"]

    wait_until(waiting, "the pod's state")
    assert waiting()[0]["message"] == 'secret "hub" not found'
    put_secret(plane, namespace, "hub", "token")
    wait_until(lambda: plane.api.list("jobs", namespace)[0]["status"].get("succeeded") == 1, "the Job is complete")
