"""What holds of every pod that the chart makes, in every case."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from helm.template import Manifest
from tests.chart.pod_security import containers, violations
from tests.chart.rendering import DIGEST, NEWEST, cases, pod_specs, rendered, rendered_with_long_names

pytestmark = pytest.mark.usefixtures("helms")


def pods(case: str) -> Iterator[tuple[str, Manifest]]:
    for manifest in rendered(NEWEST, case):
        yield from pod_specs(manifest)


def own_volumes(spec: Manifest) -> Iterator[dict[str, Any]]:
    yield from spec.get("volumes") or []


@pytest.mark.parametrize("case", cases())
def test_they_satisfy_the_restricted_pod_security_standard(case: str) -> None:
    assert [f"{place}: {sentence}" for place, spec in pods(case) for sentence in violations(spec)] == []


@pytest.mark.parametrize("case", cases())
def test_they_have_no_token_and_write_to_no_root(case: str) -> None:
    for place, spec in pods(case):
        assert spec["automountServiceAccountToken"] is False, place
        for container in containers(spec):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, container["name"]
            # What a program says at its end is what `kubectl describe` shows.
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", container["name"]


@pytest.mark.parametrize("case", cases())
def test_every_container_says_what_it_needs_and_may_take(case: str) -> None:
    for place, spec in pods(case):
        for container in containers(spec):
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), f"{place}: {container['name']}"
            assert "memory" in resources["limits"], f"{place}: {container['name']}"


@pytest.mark.parametrize("case", cases())
def test_amounts_of_devices_are_strings_and_the_same_asked_and_allowed(case: str) -> None:
    for place, spec in pods(case):
        for container in containers(spec):
            asked, allowed = (
                {
                    name: amount
                    for name, amount in container.get("resources", {}).get(kind, {}).items()
                    if "/" in name
                }
                for kind in ("requests", "limits")
            )
            assert all(isinstance(amount, str) for amount in {**asked, **allowed}.values()), place
            assert asked == allowed, place


@pytest.mark.parametrize("case", cases())
def test_volumes_in_memory_and_on_nodes_are_bounded_and_mounts_have_volumes(case: str) -> None:
    for place, spec in pods(case):
        volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
        for name, volume in volumes.items():
            assert "emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), f"{place}: {name}"
        for container in containers(spec):
            mounted = {mount["name"] for mount in container.get("volumeMounts") or []}
            assert mounted <= volumes.keys(), f"{place}: {container['name']}"


@pytest.mark.parametrize("case", cases())
def test_every_image_is_of_one_version(case: str) -> None:
    for place, spec in pods(case):
        for container in containers(spec):
            name, _, tag = container["image"].rpartition(":")
            assert name, f"{place}: {container['image']}"
            assert tag not in ("latest", "main", "master", "nightly", ""), place


@pytest.mark.parametrize("case", cases())
def test_a_digest_is_what_is_pulled(case: str) -> None:
    images = [
        container["image"]
        for manifest in rendered_with_long_names(case)
        for _, spec in pod_specs(manifest)
        for container in containers(spec)
    ]
    assert images
    wanted = rf"registry\.example\.com/fovea/fovea-(gateway|engine|engine-cpu|quantize)@{DIGEST}"
    assert [image for image in images if not re.fullmatch(wanted, image)] == []
