"""A release rendered out of values that a test makes, and what of it is looked for."""

import json
from pathlib import Path
from typing import Any

import yaml

from helm.template import Manifest, objects, render
from tests.chart.rendering import NEWEST, pod_specs, program

BASE = {"name": "base", "preset": "h100", "model": {"name": "m", "path": "m"}, "servePolicy": "none"}
SOURCES: dict[str, dict[str, Any]] = {
    "hub": {"repository": "Qwen/Qwen3.5-9B", "revision": "v1", "tokenSecret": {"name": "hub-token", "key": "t"}},
    "oci": {"reference": "registry.example.com/models/qwen:1", "pullSecret": "login"},
    "s3": {"url": "s3://bucket/a/b", "endpoint": "https://s3.example.com", "region": "eu-1", "secret": "bucket"},
    "pvc": {"claimName": "mine", "path": "a/b"},
}


class Chart:
    """Renders values that are made here, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[str, list[Manifest]]()

    def __call__(self, *pools: dict[str, Any], options: tuple[str, ...] = (), **more: Any) -> list[Manifest]:
        values = {"gateway": {"allowAnonymous": True}, "pools": list(pools), **more}
        key = json.dumps([values, options])
        if key not in self._known:
            path = self._folder / f"{len(self._known)}.yaml"
            path.write_text(yaml.safe_dump(values))
            self._known[key] = objects(render(program(NEWEST), "--values", str(path), *options))
        return self._known[key]


def pool(source: dict[str, Any], quantized: bool = False, **more: Any) -> dict[str, Any]:
    return {**BASE, "name": "main", "source": source, "quantize": {"enabled": quantized}, **more}


def trial(gate: dict[str, Any] | None = None, **evaluate: Any) -> dict[str, Any]:
    """A candidate that the release's own gate decides about."""
    evaluation = {"enabled": True, "base": "base", **evaluate}
    quantized = {"enabled": True, "evaluate": evaluation, "gate": {"policy": gate or {}}}
    own = {"name": "next", "model": {"name": "m", "path": "m-fp8"}, "servePolicy": "requireGated"}
    return {**BASE, **own, "source": {"pool": "base"}, "quantize": quantized}


def of_kind(manifests: Any, kind: str, component: str = "") -> list[Manifest]:
    found = [each for each in manifests if each["kind"] == kind]
    label = "app.kubernetes.io/component"
    return [each for each in found if not component or each["metadata"]["labels"].get(label) == component]


def only(manifests: Any, kind: str, component: str = "") -> Manifest:
    (found,) = of_kind(manifests, kind, component)
    return found


def engine_of(manifests: Any, name: str) -> Manifest:
    (found,) = [
        each["spec"]["template"]["spec"]
        for each in of_kind(manifests, "Deployment", "engine")
        if each["metadata"]["labels"]["fovea.dev/pool"] == name
    ]
    return dict(found)


def steps(job: Manifest) -> list[Manifest]:
    """Containers in the order in which they run."""
    (spec,) = [spec for _, spec in pod_specs(job)]
    return [*spec.get("initContainers", []), *spec["containers"]]
