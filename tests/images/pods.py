"""The chart's objects as pods that podman runs without a cluster.

Of a Deployment or a Job podman is given the pod template, unchanged but for what stands in for the cluster:
Services are host aliases, and no port is published. podman 4.3 does not look at these fields, and so nothing here
proves them: probes (there is no systemd to run them), fsGroup, runAsNonRoot, seccompProfile (its default applies),
resources.requests, ephemeral-storage, topologySpreadConstraints, affinity, emptyDir's sizeLimit and medium,
terminationMessagePolicy, a Job's backoffLimit and podFailurePolicy.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from helm.template import Manifest
from tests.images.containers import inspect, podman

CONTROLLERS = ("Deployment", "Job")


def pod_of(controller: Manifest, aliases: Mapping[str, str], memory: Path | None = None) -> Manifest:
    """`aliases`: the address of each name. `memory`: where emptyDirs in memory are, which podman would have on the
    disk, and root's alone."""
    assert controller["kind"] in CONTROLLERS
    template = copy.deepcopy(controller["spec"]["template"])
    spec = template["spec"]
    spec["hostAliases"] = [{"ip": ip, "hostnames": [name]} for name, ip in aliases.items()]
    for container in spec["containers"]:
        container.pop("ports", None)  # podman would publish them on this machine, where others may listen there
        # What asks by their names is not run either.
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            container.pop(probe, None)
    for volume in spec["volumes"]:
        if memory and volume.get("emptyDir", {}).get("medium") == "Memory":
            memory.mkdir()
            memory.chmod(0o777)  # as a kubelet's are
            volume["hostPath"] = {"path": str(memory), "type": "Directory"}
            del volume["emptyDir"]
    # A controller would bring back what ends; here that would be hidden from the test.
    spec["restartPolicy"] = "Never"
    metadata = {"name": controller["metadata"]["name"], "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def of_kind(objects: Sequence[Manifest], kind: str, component: str) -> Manifest:
    """The one of that kind and component."""
    found = [
        each
        for each in objects
        if each["kind"] == kind and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    assert len(found) == 1, (kind, component, len(found))
    return found[0]


def play(objects: Sequence[Manifest], network: str, folder: Path) -> None:
    path = folder / "pods.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    podman("kube", "play", "--network", network, str(path))


def address_of(pod: str, network: str) -> str:
    """Of a pod, on that network."""
    infra = inspect("pod", pod)["InfraContainerID"]
    networks: dict[str, Any] = inspect("container", infra)["NetworkSettings"]["Networks"]
    return str(networks[network]["IPAddress"])


def containers_of(pod: str) -> list[str]:
    names = (each["Name"] for each in inspect("pod", pod)["Containers"])
    return [name for name in names if not name.endswith("-infra")]
