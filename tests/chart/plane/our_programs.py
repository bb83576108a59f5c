"""Containers of ours that the stand-in kubelet really runs: the pod's own command line over a folder as /models."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helm.template import ROOT
from tests.chart.plane.api import Object
from tests.chart.plane.pod_status import RUNS, Does

# The entry points of our images.
MODULES = {"fovea-engine": "server", "fovea-gateway": "server", "fovea-quantize": "quantize.cli"}
COMMANDS = {"fovea": "server", "fovea-quantize": "quantize.cli"}


class OurPrograms:
    """Runs containers of these names, one process for each of a pod, and does what they do."""

    def __init__(self, namespace: str, models: Path, *names: str) -> None:
        self._namespace = namespace
        self._models = models
        self._names = names
        self._processes: dict[tuple[str, str], subprocess.Popen[str]] = {}
        self._said: dict[tuple[str, str], list[str]] = {}
        self.order: list[str] = []

    def __call__(self, pod: Object, container: str) -> Does | None:
        if pod["metadata"]["namespace"] != self._namespace or container not in self._names:
            return None
        key = (pod["metadata"]["uid"], container)
        if key not in self._processes:
            self.order.append(container)
            self._start(key, pod)
        code = self._processes[key].poll()
        if code is None:
            return RUNS
        return Does(code, (self._said[key] or [""])[-1])

    @contextmanager
    def stopping(self) -> Iterator["OurPrograms"]:
        try:
            yield self
        finally:
            for process in self._processes.values():
                process.kill()
                process.wait()

    def _start(self, key: tuple[str, str], pod: Object) -> None:
        spec = pod["spec"]
        (container,) = [
            each for each in spec.get("initContainers", []) + spec["containers"] if each["name"] == key[1]
        ]
        name = container["image"].rpartition("/")[2].partition(":")[0]
        module = COMMANDS[container["command"][0]] if "command" in container else MODULES[name]
        arguments = [each.replace("/models", str(self._models)) for each in container["args"]]
        if arguments[0] == "await-checkpoint":
            arguments.append("--poll=1s")
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes[key], self._said[key] = process, []
        threading.Thread(target=self._listen, args=(key, process), daemon=True).start()

    def _listen(self, key: tuple[str, str], process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                self._said[key].append(line.strip())
