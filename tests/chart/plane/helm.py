"""Helm and kubectl against the plane, as their user types them."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from helm.template import CHART, ROOT
from tests.chart.plane.api import Object

NEVER_S = 300  # of commands that bound themselves by --timeout


@dataclass(frozen=True)
class Helm:
    """One of both, with its files apart from the user's. `kubeconfig` names the plane."""

    program: Path
    kubeconfig: Path
    home: Path

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What it printed, of both streams where it has to fail."""
        done = self._run(*arguments)
        assert (done.returncode != 0) is fails, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr if fails else done.stdout

    def install(
        self, release: str, namespace: str, values: Object, *, wait: bool = True, fails: bool = False
    ) -> str:
        """The chart into a namespace that need not be there."""
        return self._put(["install", release, "--create-namespace"], namespace, values, wait, fails)

    def upgrade(self, release: str, namespace: str, values: Object, *, wait: bool = True) -> str:
        return self._put(["upgrade", release], namespace, values, wait, fails=False)

    def would_install(self, release: str, namespace: str, values: Path) -> tuple[str, str]:
        """What an install would send to this cluster, tests included, or why it would not."""
        options = ("--namespace", namespace, "--values", str(values), "--dry-run=server", "--output", "json")
        done = self._run("install", release, str(CHART), *options)
        if done.returncode:
            return "", done.stderr
        said = json.loads(done.stdout)
        return "\n---\n".join([said["manifest"], *(hook["manifest"] for hook in said.get("hooks", []))]), ""

    def _put(self, command: list[str], namespace: str, values: Object, wait: bool, fails: bool) -> str:
        path = self.home / f"{namespace}.json"
        path.write_text(json.dumps(values))
        waits = ["--wait", "--timeout=4m"] if wait else []
        options = ["--namespace", namespace, "--values", str(path), *waits]
        return self(*command, str(CHART), *options, fails=fails)

    def shell(self, line: str) -> str:
        """A line of the README, in the repository."""
        environ = self._environ() | {"PATH": f"{self.program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-c", line], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=NEVER_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kubectl_apply(self, manifest: str, namespace: str, *, fails: bool = False) -> str:
        """To see whether the server would take it: nothing is kept."""
        kubectl = str(self.program.parent / "kubectl")
        command = [kubectl, "apply", "--server-side", "--dry-run=server", "--validate=false"]
        command += ["--namespace", namespace, "--filename", "-"]
        done = subprocess.run(
            command, input=manifest, env=self._environ(), capture_output=True, text=True, timeout=NEVER_S
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), *arguments]
        return subprocess.run(
            command, env=self._environ(), cwd=ROOT, capture_output=True, text=True, timeout=NEVER_S
        )

    def _environ(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        folders = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return own | folders | {"KUBECONFIG": str(self.kubeconfig)}
