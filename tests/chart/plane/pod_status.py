"""What a kubelet would say of a pod whose containers do this or that: its `status`, from nothing but the pod."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
STARTED = "2026-01-01T00:00:00Z"  # nobody here looks at times


@dataclass(frozen=True)
class Does:
    """What a container does: it runs, ready or not, or it ended with `code` and `said` this last."""

    code: int | None = None
    said: str = ""
    ready: bool = True


RUNS, RUNS_UNREADY, SUCCEEDS = Does(), Does(ready=False), Does(0)
Deeds = Callable[[str], Does]


def status_of(pod: Object, deeds: Deeds, ip: str) -> Object:
    """Init containers one after the other, then all containers at once. `deeds` is asked by a container's name, and
    only where its turn has come."""
    spec = pod["spec"]
    again = spec.get("restartPolicy", "Always") != "Never"
    first, failed = init_statuses(spec.get("initContainers", []), deeds, again)
    initialized = len(first) == len(spec.get("initContainers", [])) and all(is_done(each) for each in first)
    waiting = [waiting_status(each, "PodInitializing") for each in spec["containers"]]
    containers = (
        [status(each, deeds(each["name"]), spec) for each in spec["containers"]] if initialized else waiting
    )
    rest = spec.get("initContainers", [])[len(first) :]
    said: Object = {
        "phase": "Failed" if failed else phase(containers, spec) if initialized else "Pending",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": STARTED,
        "containerStatuses": containers,
        "conditions": conditions(initialized, containers),
    }
    if spec.get("initContainers"):
        said["initContainerStatuses"] = first + [waiting_status(each, "PodInitializing") for each in rest]
    return said


def blocked(pod: Object, reason: str, message: str) -> Object:
    """Nothing runs: a volume or a setting is missing."""
    spec = pod["spec"]
    said: Object = {"phase": "Pending", "startTime": STARTED, "conditions": conditions(False, [])}
    if first := spec.get("initContainers"):
        said["initContainerStatuses"] = [waiting_status(each, reason, message) for each in first]
        reason, message = "PodInitializing", ""
    said["containerStatuses"] = [waiting_status(each, reason, message) for each in spec["containers"]]
    return said


def init_statuses(containers: list[Object], deeds: Deeds, again: bool) -> tuple[list[Object], bool]:
    """Of those whose turn has come, and whether one failed for good."""
    said = []
    for container in containers:
        does = deeds(container["name"])
        said.append(status(container, does, {"restartPolicy": "OnFailure" if again else "Never"}))
        if does.code != 0:
            return said, does.code is not None and not again
    return said, False


def status(container: Object, does: Does, spec: Object) -> Object:
    policy = spec.get("restartPolicy", "Always")
    said = {"name": container["name"], "image": container["image"], "imageID": "stand-in", "restartCount": 0}
    if does.code is None:
        state: Object = {"running": {"startedAt": STARTED}}
        return said | {"ready": does.ready, "started": True, "state": state, "lastState": {}}
    ended = {"terminated": termination(container, does)}
    if policy == "Always" or (policy == "OnFailure" and does.code):
        waits = {
            "reason": "CrashLoopBackOff",
            "message": f"back-off restarting failed container {container['name']}",
        }
        return said | {"ready": False, "restartCount": 1, "state": {"waiting": waits}, "lastState": ended}
    return said | {"ready": does.code == 0, "started": False, "state": ended, "lastState": {}}


def termination(container: Object, does: Does) -> Object:
    """Who asked for it finds the log's end in `message`."""
    kept = does.code != 0 and container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    reason = "Error" if does.code else "Completed"
    times = {"startedAt": STARTED, "finishedAt": STARTED}
    return {"exitCode": does.code, "reason": reason, "message": does.said if kept else "", **times}


def waiting_status(container: Object, reason: str, message: str = "") -> Object:
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    said = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
    return said | {"ready": False, "started": False, "state": state, "lastState": {}}


def is_done(container: Object) -> bool:
    ended = container["state"].get("terminated")
    return ended is not None and ended["exitCode"] == 0


def phase(containers: list[Object], spec: Object) -> str:
    ended = [each["state"].get("terminated") for each in containers]
    if spec.get("restartPolicy", "Always") == "Always" or not all(ended):
        return "Running"
    return "Failed" if any(each["exitCode"] for each in ended if each) else "Succeeded"


def conditions(initialized: bool, containers: list[Object]) -> list[Object]:
    ready = bool(containers) and all(each["ready"] and "running" in each["state"] for each in containers)
    held = {"PodScheduled": True, "Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    return [{"type": kind, "status": str(value), "lastTransitionTime": STARTED} for kind, value in held.items()]
