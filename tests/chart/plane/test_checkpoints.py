"""The quantize Job and engines that wait for it: our own programs, as pods call them, over the bundled model."""

from pathlib import Path
from typing import Any

import pytest

from helm.template import ROOT
from tests.chart.plane.conftest import Plane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import wait_until
from tests.chart.plane.our_programs import OurPrograms
from tests.chart.plane.pod_status import RUNS, Does
from tests.chart.plane.test_releases import pods, small
from tests.unit.engine.test_checkpoint_policy import PROVED, RED, write

pytestmark = pytest.mark.timeout(2400)

JOB = ["source", "plan", "run", "verify"]


def test_engines_start_when_the_quantize_job_has_proved_their_checkpoint(
    plane: Plane, helm: Helm, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "demo").symlink_to(ROOT / "demo" / "model")
    values = small(
        model={"name": "seen", "path": "seen"}, source={"store": {"path": "demo"}}, quantize={"enabled": True}
    )
    held = [True]

    def hold(pod: dict[str, Any], container: str) -> Does | None:
        here = pod["metadata"]["namespace"] == namespace
        return RUNS if here and held[0] and container == "source" else None

    with OurPrograms(namespace, tmp_path, *JOB, "checkpoint").stopping() as programs, plane.kubelet.told(programs):
        with plane.kubelet.told(hold):
            helm.install("fovea", namespace, values, wait=False)
            wait_until(lambda: "checkpoint" in programs.order, "the engine's init container")
            wait_until(lambda: first_of(plane, namespace).get("running"), "the engine waits")
            (engine,) = pods(plane, namespace, "engine").values()
            assert engine["status"]["phase"] == "Pending"
            assert programs.order == ["checkpoint"]
            held[0] = False
        wait_until(lambda: ready(plane, namespace), "the engine is ready", 400)
    assert programs.order == ["checkpoint", *JOB]
    (job,) = plane.api.list("jobs", namespace)
    wait_until(lambda: plane.api.list("jobs", namespace)[0]["status"].get("succeeded") == 1, "the Job is complete")
    assert (tmp_path / "seen" / "fovea-report.json").exists()
    assert job["metadata"]["name"].startswith("fovea-quantize-main-")


def test_a_red_gate_keeps_engines_from_starting_and_says_so_in_the_pod(
    plane: Plane, helm: Helm, namespace: str, tmp_path: Path
) -> None:
    write(tmp_path / "seen", {"quantize": PROVED, "sight": RED})
    with OurPrograms(namespace, tmp_path, "checkpoint").stopping() as programs, plane.kubelet.told(programs):
        helm.install("fovea", namespace, small(model={"name": "seen", "path": "seen"}), wait=False)
        wait_until(lambda: first_of(plane, namespace, "lastState").get("terminated"), "the init container's end")
        ended = first_of(plane, namespace, "lastState")["terminated"]
        assert ended["exitCode"] == 1
        assert "has failed the sight gate" in ended["message"]
        assert "\n" not in ended["message"]
        assert first_of(plane, namespace)["waiting"]["reason"] == "CrashLoopBackOff"
        assert not ready(plane, namespace)


def first_of(plane: Plane, namespace: str, state: str = "state") -> dict[str, Any]:
    """A state of the engine's init container."""
    for pod in pods(plane, namespace, "engine").values():
        for each in pod["status"].get("initContainerStatuses", []):
            found: dict[str, Any] = each[state]
            return found
    return {}


def ready(plane: Plane, namespace: str) -> bool:
    (pod,) = pods(plane, namespace, "engine").values()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
