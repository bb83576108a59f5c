"""Which environments and programs there are, what is in each, and what for: set_up.py makes them.

Read by whatever Python runs set_up.py: nothing but the standard library is here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """What is installed into one environment; `free_gb` is asked of the disk before.

    Ours with `extras`; without any, pyproject's dependency group of the environment's name and nothing of ours.
    `named`: made only when it is named; where it cannot be, that is said and the rest goes on. `layered`: programs
    that come in a wheel of a jsii package, in a zip file in a tarball: into bin/ with them, and nothing that the
    wheel depends on. `then`: a module of ours that puts into the environment, whose folder it is told, what no
    registry has.
    """

    extras: str
    cpu_torch: bool
    free_gb: float
    purpose: str
    named: bool = False
    layered: tuple[str, ...] = ()
    then: str = ""


@dataclass(frozen=True)
class Program:
    """Debian packages of which one holds `path`: unpacked under .venv/programs, not installed, so that no service
    starts. `libraries`: with all that they depend on and this machine has not; who runs it says where they lie.
    `installed`: what does not work where it is unpacked, and is installed where we are root."""

    path: str
    packages: tuple[str, ...]
    purpose: str
    named: bool = False
    libraries: bool = False
    installed: bool = False


ENVIRONMENTS = {
    "gateway": Environment("[dev]", False, 0.8, "the gateway, its tests and linters"),
    "engine": Environment("[engine-cpu]", True, 4.5, "vLLM for the CPU"),
    "quantize": Environment("[calibrate]", True, 2.5, "llm-compressor, and torch for training"),
    # What people call the gateway with, each alone: they pin different versions of one another.
    "client-openai": Environment("", False, 0.1, "tests: the openai SDK"),
    "client-anthropic": Environment("", False, 0.1, "tests: the anthropic SDK"),
    "client-langchain": Environment("", False, 0.2, "tests: langchain-openai"),
    "client-litellm": Environment("", False, 0.6, "tests: litellm as a client"),
    "client-node": Environment("", False, 0.4, "tests: Node and the openai SDK of npm"),
    "grafana": Environment("", False, 0.8, "tests, screenshots: Grafana's panel components of npm"),
    "weed": Environment("", False, 0.4, "tests: SeaweedFS, a real S3 store"),
    "valkey": Environment("", False, 0.1, "tests: Valkey, where gateways share limits"),
    # Both Helms that people have; kubectl comes with the newer one.
    "helm-v3": Environment("", False, 0.3, "tests: Helm 3.17", layered=("helm/helm",)),
    "helm-v4": Environment("", False, 0.3, "tests: Helm 4.3 and kubectl", layered=("helm/helm", "kubectl/kubectl")),
    "compose": Environment("", False, 0.2, "tests: docker compose and podman-compose read deploy/compose.yaml"),
    "checkov": Environment("", False, 0.4, "tests: what checkov says of the chart's objects"),
    # Other gateways, beside which `make bench-gateway` measures ours.
    "peer-vllm-router": Environment("", False, 0.2, "benchmark: vllm-router", named=True),
    "peer-smg": Environment("", False, 0.3, "benchmark: smg", named=True),
    "peer-litellm": Environment("", False, 0.9, "benchmark: the LiteLLM proxy", named=True),
    "peer-production-stack": Environment(
        "",
        False,
        0.4,
        "benchmark: production-stack's router",
        named=True,
        then="loadtest.peers.fetch_production_stack",
    ),
}
PROGRAMS = {
    "docker-registry": Program(
        "usr/bin/docker-registry", ("docker-registry",), "the test of push against a real registry"
    ),
    # promtool and amtool come with them.
    "prometheus": Program("usr/bin/prometheus", ("prometheus",), "tests of rules, alerts and dashboards"),
    "prometheus-alertmanager": Program(
        "usr/bin/prometheus-alertmanager", ("prometheus-alertmanager",), "tests of alerts and where they go"
    ),
    "chromium": Program(
        "usr/lib/chromium/chromium", ("chromium",), "tests, screenshots: what dashboards look like", libraries=True
    ),
    # buildah builds, podman runs, by runc; of what they are built on, debootstrap makes one that needs no registry.
    "podman": Program(
        "usr/bin/podman",
        ("podman", "buildah", "runc", "catatonit", "netavark", "aardvark-dns", "iptables", "debootstrap"),
        "tests of images",
        installed=True,
    ),
    "nginx": Program("usr/sbin/nginx", ("nginx",), "tests: behind nginx; benchmark"),
}
# Compiled here, which takes minutes: begun before everything else, and done in the background unless it is named.
BUILT = {
    "control-plane": "tests of the chart: Kubernetes' API server, controllers and scheduler, from Debian's source"
}
