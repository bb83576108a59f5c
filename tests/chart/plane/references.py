"""What a pod names and there is not: Secrets and ConfigMaps, in the words of the real kubelet."""

from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]
# Kind (secrets, configmaps) and name: the object, or None.
Find = Callable[[str, str], Object | None]

WORDS = {"secrets": "secret", "configmaps": "configmap"}
TITLES = {"secrets": "Secret", "configmaps": "ConfigMap"}


def missing_volume(pod: Object, find: Find) -> str | None:
    """The message of the event FailedMount, of the first volume that cannot be mounted."""
    for volume in pod["spec"].get("volumes", []):
        for kind, name, keys, optional in sources(volume):
            found = find(kind, name)
            if found is None and not optional:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {WORDS[kind]} "{name}" not found'
            for key in keys:
                if found is not None and key not in held(found) and not optional:
                    what = f"references non-existent {WORDS[kind]} key: {key}"
                    return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {what}'
    return None


def sources(volume: Object) -> Iterator[tuple[str, str, list[str], bool]]:
    """Kind, name, keys and whether it may be missing."""
    for each in [volume, *volume.get("projected", {}).get("sources", [])]:
        for field, kind in (("secret", "secrets"), ("configMap", "configmaps")):
            if each.get(field):
                source = each[field]
                name = source.get("secretName") or source["name"]
                yield kind, name, [item["key"] for item in source.get("items", [])], bool(source.get("optional"))


def missing_setting(pod: Object, find: Find) -> str | None:
    """The message of CreateContainerConfigError, of the first container whose environment cannot be made."""
    for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
        for kind, name, key in settings(container):
            found = find(kind, name)
            if found is None:
                return f'{WORDS[kind]} "{name}" not found'
            if key and key not in held(found):
                return f"couldn't find key {key} in {TITLES[kind]} {pod['metadata']['namespace']}/{name}"
    return None


def settings(container: Object) -> Iterator[tuple[str, str, str]]:
    """Kind, name and key of those that have to be there."""
    named = (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps"))
    for each in container.get("env", []):
        for field, kind in named:
            source = each.get("valueFrom", {}).get(field)
            if source and not source.get("optional"):
                yield kind, source["name"], source["key"]
    for each in container.get("envFrom", []):
        for field, kind in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if each.get(field) and not each[field].get("optional"):
                yield kind, each[field]["name"], ""


def held(found: Object) -> set[str]:
    return {*found.get("data", {}), *found.get("binaryData", {})}
