"""The checker of the Pod Security Standard finds what each control forbids, and nothing in a pod that is fit."""

import copy
from typing import Any

import pytest

from tests.chart.pod_security import CONTROLS, violations

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "keys"}}],
    "initContainers": [
        {
            "name": "wait",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "containers": [
        {
            "name": "main",
            "ports": [{"containerPort": 8000}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 8000}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
POD = ("securityContext",)
MAIN = ("containers", 0, "securityContext")
WAIT = ("initContainers", 0, "securityContext")
REMOVED = object()

# What is changed where, and the control that must say so.
FORBIDDEN: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("HostProcess", (*POD, "windowsOptions"), {"hostProcess": True}),
    ("HostProcess", (*MAIN, "windowsOptions"), {"hostProcess": True}),
    ("Host Namespaces", ("hostNetwork",), True),
    ("Host Namespaces", ("hostPID",), True),
    ("Host Namespaces", ("hostIPC",), True),
    ("Privileged Containers", (*MAIN, "privileged"), True),
    ("Privileged Containers", (*WAIT, "privileged"), True),
    ("Capabilities", (*MAIN, "capabilities"), {"drop": ["NET_RAW"]}),
    ("Capabilities", (*WAIT, "capabilities"), REMOVED),
    ("Capabilities", (*MAIN, "capabilities", "add"), ["SYS_ADMIN"]),
    ("Volume Types", ("volumes", 0), {"name": "host", "hostPath": {"path": "/"}}),
    ("Volume Types", ("volumes", 0), {"name": "share", "nfs": {"server": "s", "path": "/"}}),
    ("Host Ports", ("containers", 0, "ports", 0, "hostPort"), 80),
    ("Host Probes / Lifecycle Hooks", ("containers", 0, "livenessProbe", "httpGet", "host"), "10.0.0.1"),
    ("Host Probes / Lifecycle Hooks", ("containers", 0, "lifecycle"), {"preStop": {"tcpSocket": {"host": "h"}}}),
    ("AppArmor", (*MAIN, "appArmorProfile"), {"type": "Unconfined"}),
    ("SELinux", (*POD, "seLinuxOptions"), {"type": "spc_t"}),
    ("SELinux", (*MAIN, "seLinuxOptions"), {"user": "system_u"}),
    ("SELinux", (*MAIN, "seLinuxOptions"), {"role": "system_r"}),
    ("/proc Mount Type", (*MAIN, "procMount"), "Unmasked"),
    ("Seccomp", (*POD, "seccompProfile"), REMOVED),
    ("Seccomp", (*POD, "seccompProfile"), {"type": "Unconfined"}),
    ("Seccomp", (*WAIT, "seccompProfile"), {"type": "Unconfined"}),
    ("Sysctls", (*POD, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
    ("Privilege Escalation", (*MAIN, "allowPrivilegeEscalation"), REMOVED),
    ("Privilege Escalation", (*WAIT, "allowPrivilegeEscalation"), True),
    ("Running as Non-root", (*POD, "runAsNonRoot"), REMOVED),
    ("Running as Non-root", (*WAIT, "runAsNonRoot"), False),
    ("Running as Non-root user", (*POD, "runAsUser"), 0),
    ("Running as Non-root user", (*MAIN, "runAsUser"), 0),
]


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(GOOD)
    place: Any = spec
    for step in path[:-1]:
        place = place[step]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return spec


def test_a_pod_that_is_fit_passes() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("control", "path", "value"), FORBIDDEN)
def test_what_a_control_forbids_is_found_by_it_alone(control: str, path: tuple[str | int, ...], value: Any) -> None:
    found = violations(changed(path, value))
    assert found
    assert {sentence.partition(":")[0] for sentence in found} == {control}


def test_every_control_has_been_seen_to_fail() -> None:
    silent = [
        control.__name__
        for control in CONTROLS
        if not any(list(control(changed(path, value))) for _, path, value in FORBIDDEN)
    ]
    assert silent == []


def test_containers_may_say_for_themselves_what_the_pod_does_not() -> None:
    spec = changed((*POD, "runAsNonRoot"), REMOVED)
    for container in (spec["containers"][0], spec["initContainers"][0]):
        container["securityContext"]["runAsNonRoot"] = True
    assert violations(spec) == []
