"""What holds of every object that the chart makes, in every case."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from helm.template import Manifest
from tests.chart.kubernetes_schemas import CUSTOM_KINDS, VERSIONS, kind_of, mistakes, named
from tests.chart.rendering import NEWEST, cases, pod_specs, rendered, rendered_with_long_names

pytestmark = pytest.mark.usefixtures("helms")
LABELS = {
    "app.kubernetes.io/name": "fovea",
    "app.kubernetes.io/instance": "fovea",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/part-of": "fovea",
}
CHANGES_WITH_RELEASES = {"app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"}
# Kinds whose pods run on until they are told: `spec.selector` finds the pods of `spec.template`.
CONTROLLERS = {"Deployment", "StatefulSet", "DaemonSet"}
PLAIN_SECRET = re.compile(r"://[^/\s:@]+:[^/\s@]+@|-----BEGIN|\b(?:hf_|sk-)[A-Za-z0-9]{16}")
SECRET_NAME = re.compile(r"(?:TOKEN|PASSWORD|SECRET|API_KEY|ACCESS_KEY|CREDENTIALS?)(?:$|_(?!FILE|PATH|DIR))")


@pytest.mark.parametrize("case", cases())
def test_every_kubernetes_knows_what_it_is_asked_for(case: str) -> None:
    found = [
        mistake
        for manifest in rendered(NEWEST, case)
        for known in (pods_of(manifest) if kind_of(manifest) in CUSTOM_KINDS else [manifest])
        for version in VERSIONS
        for mistake in checked_once(json.dumps(known, sort_keys=True), version)
    ]
    assert found == []


def pods_of(manifest: Manifest) -> list[Manifest]:
    """What a kind of somebody else's would make of its templates."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**template["metadata"], "name": "pod"},
            "spec": template["spec"],
        }
        for template in templates_in(manifest.get("spec"))
    ]


CHECKED: dict[tuple[str, str], list[str]] = {}


def checked_once(manifest: str, version: str) -> list[str]:
    """Cases share most of their objects."""
    key = (manifest, version)
    if key not in CHECKED:
        CHECKED[key] = list(mistakes(json.loads(manifest), version))
    return CHECKED[key]


def test_kinds_of_others_are_those_that_are_listed() -> None:
    met = {kind_of(manifest) for case in cases() for manifest in rendered(NEWEST, case)}
    custom = {kind for kind in met if "." in kind.split("/")[0] and ".k8s.io" not in kind.split("/")[0]}
    assert custom <= CUSTOM_KINDS.keys()


@pytest.mark.parametrize("case", cases())
def test_labels_say_whose_an_object_is(case: str) -> None:
    for manifest in rendered(NEWEST, case):
        labels = manifest["metadata"].get("labels", {})
        assert labels.items() >= LABELS.items(), named(manifest)
        # Policies may be of several components.
        assert manifest["kind"] == "NetworkPolicy" or labels["app.kubernetes.io/component"], named(manifest)
        assert labels["app.kubernetes.io/version"], named(manifest)
        assert labels["helm.sh/chart"].startswith("fovea-"), named(manifest)


@pytest.mark.parametrize("case", cases())
def test_every_object_is_in_the_releases_namespace_and_once(case: str) -> None:
    manifests = rendered(NEWEST, case)
    elsewhere = [each for each in manifests if each["metadata"].get("namespace") != "fovea"]
    # A policy of Envoy Gateway's binds Gateways of its own namespace alone.
    assert [named(each) for each in elsewhere if each["kind"] != "ClientTrafficPolicy"] == []
    names = [(kind_of(each), named(each)) for each in manifests]
    assert len(names) == len(set(names))


def selectors(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from selectors(each, f"{place}.{index}")
    elif isinstance(value, dict):
        for name, each in value.items():
            if name == "matchLabels":
                yield place, each
            yield from selectors(each, f"{place}.{name}")


@pytest.mark.parametrize("case", cases())
def test_selectors_hold_nothing_that_a_new_release_changes(case: str) -> None:
    for manifest in rendered(NEWEST, case):
        found = [labels for _, labels in selectors(manifest)]
        if manifest["kind"] == "Service":
            found.append(manifest["spec"].get("selector", {}))
        assert [labels for labels in found if labels.keys() & CHANGES_WITH_RELEASES] == [], named(manifest)


def pod_templates(manifests: tuple[Manifest, ...]) -> list[tuple[Manifest, dict[str, str]]]:
    """Whatever makes pods, with the labels of each kind of pod that it makes."""
    return [
        (manifest, template["metadata"]["labels"])
        for manifest in manifests
        for template in templates_in(manifest.get("spec"))
    ]


def templates_in(value: Any) -> Iterator[Manifest]:
    if isinstance(value, dict):
        if "containers" in (value.get("spec") or {}):
            yield value
        for each in value.values():
            yield from templates_in(each)


@pytest.mark.parametrize("case", cases())
def test_a_new_release_alone_restarts_no_pod(case: str) -> None:
    """It does where a pod's labels change."""
    for manifest, labels in pod_templates(rendered(NEWEST, case)):
        if manifest["kind"] != "Job":  # whose name changes with what it is to do
            assert not labels.keys() & CHANGES_WITH_RELEASES, named(manifest)


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("case", cases())
def test_a_controllers_selector_finds_its_pods_and_no_others(case: str) -> None:
    templates = pod_templates(rendered(NEWEST, case))
    for manifest, own in templates:
        if manifest["kind"] in CONTROLLERS:
            selector = manifest["spec"]["selector"]["matchLabels"]
            assert matches(selector, own), named(manifest)
            found = [named(other) for other, labels in templates if matches(selector, labels)]
            assert found == [named(manifest)]


@pytest.mark.parametrize("case", cases())
def test_what_selects_pods_finds_some_and_services_find_their_ports(case: str) -> None:
    manifests = rendered(NEWEST, case)
    templates = pod_templates(manifests)
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            selected = [pods for pods, labels in templates if matches(spec["selector"], labels)]
            assert selected, named(manifest)
            for pods in selected:
                names = {port["name"] for port in ports(pods)}
                assert {port["targetPort"] for port in spec["ports"]} <= names, named(manifest)
        if manifest["kind"] == "PodDisruptionBudget":
            labels_of = [labels for _, labels in templates]
            assert any(matches(spec["selector"]["matchLabels"], labels) for labels in labels_of), named(manifest)


def ports(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for _, spec in pod_specs(manifest):
        for container in spec["containers"]:
            yield from container.get("ports", [])


@pytest.mark.parametrize("case", cases())
def test_no_secret_is_made_or_told(case: str) -> None:
    for manifest in rendered(NEWEST, case):
        assert manifest["kind"] != "Secret", named(manifest)
        assert PLAIN_SECRET.search(json.dumps(manifest)) is None, named(manifest)
        for place, spec in pod_specs(manifest):
            for container in [*spec["containers"], *spec.get("initContainers", [])]:
                told = [env["name"] for env in container.get("env", []) if SECRET_NAME.search(env["name"])]
                by_value = [env for env in container.get("env", []) if env["name"] in told and "value" in env]
                assert by_value == [], place


@pytest.mark.parametrize("case", cases())
def test_names_fit_whatever_the_release_is_called(case: str) -> None:
    """Helm lets releases have names of 53 characters; those of Services and labels end at 63."""
    for manifest in rendered_with_long_names(case):
        name = manifest["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name), name
        assert all(len(label) <= 63 for label in all_labels(manifest)), named(manifest)
        if manifest["kind"] == "Deployment":
            assert len(name) <= 63 - 17, f"{name}: pods are called -HASH-HASH after it"


def all_labels(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name in ("labels", "matchLabels"):
                yield from each.values()
            else:
                yield from all_labels(each)
    elif isinstance(value, list):
        for each in value:
            yield from all_labels(each)
