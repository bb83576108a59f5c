"""Kubernetes' own control plane on loopback: etcd, API server, controllers and scheduler, as our processes."""

import csv
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from server.together import free_port
from tests.chart.plane.api import Api

START_S = 180  # it takes ten on two cores that have nothing else to do
# Who they are to RBAC, by the name of the process. The test itself may do everything.
USERS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
}
# Where processes are told who they are; loopback alone, and nobody else's.
LOOPBACK = "127.0.0.1"


class ControlPlane:
    """Its processes live as long as `run` and end with this process, however that ends."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._port = free_port()
        self._etcd = f"http://{LOOPBACK}:{free_port()}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "admin.json"

    @contextmanager
    def run(self) -> Iterator["ControlPlane"]:
        self._write_identities()
        with ExitStack() as stack:
            stack.enter_context(self._running("etcd", *self._etcd_options()))
            stack.enter_context(self._running("kube-apiserver", *self._api_options()))
            self._wait_until_ready()
            for name, options in (
                ("kube-controller-manager", self._controller_options()),
                ("kube-scheduler", ("--port=0", "--secure-port=0")),
            ):
                own = (f"--kubeconfig={self._folder / name}.json", "--leader-elect=false")
                stack.enter_context(self._running(name, *own, *options))
            yield self

    def api(self) -> Api:
        """As administrator."""
        return Api(self._port, self._folder / "ca.pem", token("admin"))

    def tail(self) -> str:
        """What each process said last, and whether it lives."""
        told = []
        for name, process in self._processes.items():
            lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-12:]
            told += [f"{name} ({'runs' if process.poll() is None else process.returncode}):", *lines]
        return "\n".join(told)

    @contextmanager
    def _running(self, name: str, *options: str) -> Iterator[None]:
        # Killed by the kernel when the thread that started it ends: no plane outlives a test run that was killed.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*bound, str(self._programs / name), *options]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._processes[name] = process
        try:
            yield
        finally:
            process.kill()  # it keeps nothing that is worth an orderly end
            process.wait()

    def _wait_until_ready(self) -> None:
        api, deadline = self.api(), time.monotonic() + START_S
        while not api.is_ready():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not dead, self.tail()
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.1)

    def _etcd_options(self) -> list[str]:
        peer = f"http://{LOOPBACK}:{free_port()}"
        mine = {"listen-client-urls": self._etcd, "advertise-client-urls": self._etcd, "listen-peer-urls": peer}
        mine |= {"initial-advertise-peer-urls": peer, "initial-cluster": f"default={peer}", "data-dir": "etcd"}
        return [f"--{name}={value}" for name, value in mine.items()]

    def _api_options(self) -> list[str]:
        mine = {
            "etcd-servers": self._etcd,
            "secure-port": self._port,
            "bind-address": LOOPBACK,
            "advertise-address": "192.0.2.1",  # nobody's: where pods would find it
            "endpoint-reconciler-type": "none",
            "tls-cert-file": "server.pem",
            "tls-private-key-file": "server.key",
            "token-auth-file": "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": "accounts.key",
            "service-account-signing-key-file": "accounts.key",
        }
        return [f"--{name}={value}" for name, value in mine.items()]

    def _controller_options(self) -> list[str]:
        mine = {
            "use-service-account-credentials": "true",
            "service-account-private-key-file": "accounts.key",
            "root-ca-file": "ca.pem",
            "node-monitor-grace-period": "10h",  # the stand-in kubelet sends no heartbeats
            "port": "0",
            "secure-port": "0",
        }
        return [f"--{name}={value}" for name, value in mine.items()]

    def _write_identities(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        certificate = authority.issue_cert(LOOPBACK, "localhost")
        authority.cert_pem.write_to_path(self._folder / "ca.pem")
        certificate.cert_chain_pems[0].write_to_path(self._folder / "server.pem")
        certificate.private_key_pem.write_to_path(self._folder / "server.key")
        (self._folder / "accounts.key").write_bytes(private_key())
        with (self._folder / "tokens.csv").open("w", newline="") as file:
            csv.writer(file).writerows([token(name), user, name, group] for name, (user, group) in USERS.items())
        for name in USERS:
            path = self.kubeconfig if name == "admin" else self._folder / f"{name}.json"
            path.write_text(json.dumps(self._kubeconfig(name)))

    def _kubeconfig(self, name: str) -> dict[str, object]:
        cluster = {
            "server": f"https://{LOOPBACK}:{self._port}",
            "certificate-authority": str(self._folder / "ca.pem"),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token(name)}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": name}}],
            "current-context": "plane",
        }


def token(name: str) -> str:
    return f"{name}-token"


def private_key() -> bytes:
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
