"""A stand-in for the kubelets of a cluster: nodes with GPUs, and pods that do on them what a test says.

It starts no container. Bound pods go through the states that the API server, the controllers and Helm look at: init
containers in their order, Jobs and tests that end, servers that run and are ready. It makes volumes, too.
"""

import http.client
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.chart.plane.api import Api, ApiError, Object
from tests.chart.plane.pod_status import RUNS, SUCCEEDS, Does, blocked, status_of
from tests.chart.plane.references import missing_setting, missing_volume

LOOK_S = 0.15
GPU = "nvidia.com/gpu"
# Somebody was quicker: it is gone, changed or about to go. The next look sees.
OVERTAKEN = {403, 404, 409}
MOST_TROUBLE = 20
# A pod and the name of a container; None: as if nothing had been told.
Told = Callable[[Object, str], Does | None]


class Kubelet:
    """What was told last wins. `trouble` holds what went wrong in its thread, for the test to look at."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._told: list[Told] = []
        self._said: dict[str, Object] = {}
        self._addresses: dict[str, str] = {}
        self._ending = threading.Event()
        self.trouble: list[str] = []

    @contextmanager
    def running(self) -> Iterator["Kubelet"]:
        thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            thread.join()

    @contextmanager
    def told(self, what: Told) -> Iterator[None]:
        self._told.append(what)
        try:
            yield
        finally:
            self._told.remove(what)

    def add_node(self, name: str, gpus: int, taint: str = "", **labels: str) -> None:
        """With CPUs and memory enough for all."""
        has = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": "500"}
        own = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "a", **labels}
        taints = [{"key": key, "effect": "NoSchedule"} for key in (taint, GPU if gpus else "") if key]
        if gpus:
            has[GPU] = str(gpus)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {"capacity": has, "allocatable": has, "conditions": [ready]}
        node = {"metadata": {"name": name, "labels": own}, "spec": {"taints": taints}, "status": status}
        self._api.create("nodes", "", node)

    def _run(self) -> None:
        while not self._ending.wait(LOOK_S):
            try:
                self._look()
            except (OSError, http.client.HTTPException):
                continue  # a server that stands still, or has ended
            except ApiError:
                self.trouble.append(traceback.format_exc())
                del self.trouble[:-MOST_TROUBLE]

    def _look(self) -> None:
        pods = self._api.list("pods", resourceVersion="0")
        for pod in pods:
            if pod["spec"].get("nodeName"):
                self._unless_overtaken(self._look_at, pod)
        there = {pod["metadata"]["uid"] for pod in pods}
        self._said = {uid: said for uid, said in self._said.items() if uid in there}
        self._make_volumes()

    def _unless_overtaken(self, do: Callable[[Object], None], what: Object) -> None:
        try:
            do(what)
        except ApiError as error:
            if error.status not in OVERTAKEN:
                raise

    def _look_at(self, pod: Object) -> None:
        about = pod["metadata"]
        if about.get("deletionTimestamp"):
            self._api.delete("pods", about["namespace"], about["name"], {"gracePeriodSeconds": 0})
            return
        if pod["status"].get("phase") in {"Succeeded", "Failed"}:
            return
        said = self._status(pod)
        if self._said.get(about["uid"]) == said:
            return
        self._api.merge("pods", about["namespace"], about["name"], {"status": said}, "status")
        self._said[about["uid"]] = said

    def _status(self, pod: Object) -> Object:
        started = self._said.get(pod["metadata"]["uid"], {}).get("podIP")
        if not started:
            namespace = pod["metadata"]["namespace"]
            if unmounted := missing_volume(pod, lambda kind, name: self._api.get(kind, namespace, name)):
                self._tell(pod, "FailedMount", unmounted)
                return blocked(pod, "ContainerCreating", "")
            if unset := missing_setting(pod, lambda kind, name: self._api.get(kind, namespace, name)):
                return blocked(pod, "CreateContainerConfigError", unset)
        return status_of(pod, lambda container: self._does(pod, container), self._address(pod))

    def _does(self, pod: Object, container: str) -> Does:
        for told in reversed(self._told):
            if (does := told(pod, container)) is not None:
                return does
        first = {each["name"] for each in pod["spec"].get("initContainers", [])}
        ends = container in first or pod["spec"].get("restartPolicy", "Always") != "Always"
        return SUCCEEDS if ends else RUNS

    def _address(self, pod: Object) -> str:
        count = len(self._addresses)
        return self._addresses.setdefault(pod["metadata"]["uid"], f"10.244.{count // 250}.{count % 250 + 1}")

    def _tell(self, pod: Object, reason: str, message: str) -> None:
        """An event, once."""
        about = pod["metadata"]
        name = f"{about['name']}.{reason.lower()}"
        if self._api.get("events", about["namespace"], name) is None:
            involved = {"kind": "Pod", "name": about["name"], "namespace": about["namespace"], "uid": about["uid"]}
            event = {"metadata": {"name": name}, "involvedObject": involved, "type": "Warning"}
            self._api.create("events", about["namespace"], event | {"reason": reason, "message": message})

    def _make_volumes(self) -> None:
        for claim in self._api.list("persistentvolumeclaims", resourceVersion="0"):
            if claim["status"].get("phase") == "Pending" and not claim["spec"].get("volumeName"):
                self._unless_overtaken(self._make_volume, claim)
        for volume in self._api.list("persistentvolumes", resourceVersion="0"):
            if volume["status"].get("phase") == "Released":
                self._api.delete("persistentvolumes", "", volume["metadata"]["name"])

    def _make_volume(self, claim: Object) -> None:
        about = claim["metadata"]
        name = f"pv-{about['uid']}"
        if self._api.get("persistentvolumes", "", name) is not None:
            return
        of = {
            "kind": "PersistentVolumeClaim",
            "namespace": about["namespace"],
            "name": about["name"],
            "uid": about["uid"],
        }
        spec = {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": claim["spec"].get("storageClassName", ""),
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/nowhere/{name}"},
            "claimRef": {"apiVersion": "v1", **of},
        }
        self._api.create("persistentvolumes", "", {"metadata": {"name": name}, "spec": spec})


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 180) -> None:
    """It takes as long as it takes, on any machine; only what never comes fails."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
