"""Kubernetes' Pod Security Standard "restricted" (which holds "baseline"), control by control, over a pod's spec.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ as of Kubernetes 1.37. Each control yields a
sentence for each thing that it forbids; it begins with the control's name there.
"""

from collections.abc import Callable, Iterator
from typing import Any

Spec = dict[str, Any]

KINDS_OF_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
VOLUME_TYPES = set("configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret".split())
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SAFE_SYSCTLS = set(
    "kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.ip_unprivileged_port_start "
    "net.ipv4.tcp_syncookies net.ipv4.ping_group_range net.ipv4.ip_local_reserved_ports "
    "net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl "
    "net.ipv4.tcp_keepalive_probes net.ipv4.tcp_rmem net.ipv4.tcp_wmem".split()
)
APPARMOR = {None, "RuntimeDefault", "Localhost"}
SECCOMP = {"RuntimeDefault", "Localhost"}
HANDLERS = ("httpGet", "tcpSocket")


def containers(spec: Spec) -> Iterator[Spec]:
    for kind in KINDS_OF_CONTAINERS:
        yield from spec.get(kind) or []


def contexts(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """The pod's security context and each container's, with whose it is."""
    yield "the pod", spec.get("securityContext") or {}
    for container in containers(spec):
        yield container["name"], container.get("securityContext") or {}


def effective(spec: Spec, field: str) -> Iterator[tuple[str, Any]]:
    """What a field of the security context is for each container: its own, else the pod's."""
    (_, pod), *own = contexts(spec)
    for name, context in own:
        yield name, context.get(field, pod.get(field))


def host_process(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield f"HostProcess: {name} is one"


def host_namespaces(spec: Spec) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"Host Namespaces: {field}"


def privileged(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        if context.get("privileged"):
            yield f"Privileged Containers: {name}"


def capabilities(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        asked = (container.get("securityContext") or {}).get("capabilities") or {}
        if "ALL" not in (asked.get("drop") or []):
            yield f"Capabilities: {container['name']} does not drop ALL"
        for added in set(asked.get("add") or []) - {"NET_BIND_SERVICE"}:
            yield f"Capabilities: {container['name']} adds {added}"


def volumes(spec: Spec) -> Iterator[str]:
    """Also baseline's HostPath Volumes."""
    for volume in spec.get("volumes") or []:
        for kind in volume.keys() - {"name"} - VOLUME_TYPES:
            yield f"Volume Types: {volume['name']} is a {kind}"


def host_ports(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield f"Host Ports: {container['name']} takes {port['hostPort']}"


def host_probes(spec: Spec) -> Iterator[str]:
    """Since 1.34: probes and hooks that would reach another host."""
    for container in containers(spec):
        hooks = container.get("lifecycle") or {}
        asked = {name: container.get(f"{name}Probe") for name in ("liveness", "readiness", "startup")}
        asked |= {name: hooks.get(name) for name in ("postStart", "preStop")}
        for name, handler in asked.items():
            for kind in HANDLERS:
                if ((handler or {}).get(kind) or {}).get("host"):
                    yield f"Host Probes / Lifecycle Hooks: {container['name']}'s {name} names a host"


def apparmor(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        kind = (context.get("appArmorProfile") or {}).get("type")
        if kind not in APPARMOR:
            yield f"AppArmor: {name} is {kind}"


def selinux(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        asked = context.get("seLinuxOptions") or {}
        if asked.get("type") not in SELINUX_TYPES:
            yield f"SELinux: {name} is {asked['type']}"
        for field in ("user", "role"):
            if asked.get(field):
                yield f"SELinux: {name} sets {field}"


def proc_mount(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        if context.get("procMount", "Default") != "Default":
            yield f"/proc Mount Type: {name}"


def seccomp(spec: Spec) -> Iterator[str]:
    for name, profile in effective(spec, "seccompProfile"):
        if (profile or {}).get("type") not in SECCOMP:
            yield f"Seccomp: {name} has no profile"
    pod = (spec.get("securityContext") or {}).get("seccompProfile")
    if pod and pod.get("type") not in SECCOMP:
        yield "Seccomp: the pod has no profile"


def sysctls(spec: Spec) -> Iterator[str]:
    for sysctl in (spec.get("securityContext") or {}).get("sysctls") or []:
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"Sysctls: {sysctl['name']}"


def privilege_escalation(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        if (container.get("securityContext") or {}).get("allowPrivilegeEscalation") is not False:
            yield f"Privilege Escalation: {container['name']} may"


def non_root(spec: Spec) -> Iterator[str]:
    for name, value in effective(spec, "runAsNonRoot"):
        if value is not True:
            yield f"Running as Non-root: {name} may be root"


def non_root_user(spec: Spec) -> Iterator[str]:
    for name, context in contexts(spec):
        if context.get("runAsUser") == 0:
            yield f"Running as Non-root user: {name} is user 0"


CONTROLS: tuple[Callable[[Spec], Iterator[str]], ...] = (
    host_process,
    host_namespaces,
    privileged,
    capabilities,
    volumes,
    host_ports,
    host_probes,
    apparmor,
    selinux,
    proc_mount,
    seccomp,
    sysctls,
    privilege_escalation,
    non_root,
    non_root_user,
)


def violations(spec: Spec) -> list[str]:
    return [sentence for control in CONTROLS for sentence in control(spec)]
