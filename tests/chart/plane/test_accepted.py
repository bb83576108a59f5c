"""Whatever the chart can make, the API server takes: rendered for this cluster, and applied without being kept."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helm.template import PRESETS, ROOT, objects
from tests.chart.plane.conftest import Plane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import wait_until
from tests.chart.plane.stubs import KINDS, stubs

pytestmark = pytest.mark.timeout(2400)

CASES = sorted([*PRESETS.glob("*.yaml"), *(ROOT / "tests" / "chart" / "values").glob("*.yaml")])
# The chart itself refuses what Kubernetes 1.20 would take and forget. No preset needs such a thing.
TOO_OLD = re.compile(r"needs Kubernetes 1\.[2-9]\d, and this is v1\.20\.2")
REFUSED = frozenset(ROOT / "tests" / "chart" / "values" / name for name in ("engines.yaml", "everything.yaml"))
NAMESPACE = "accepted"


@pytest.fixture(scope="module", autouse=True)
def _kinds(plane: Plane) -> Iterator[None]:
    plane.api.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
    with stubs(plane.api):
        wait_until(
            lambda: plane.api.get("serviceaccounts", NAMESPACE, "default"), "the namespace's service account"
        )
        yield


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> dict[Path, tuple[str, str]]:
    """What each case would send to this cluster, or why it would not."""
    return {values: helm.would_install("fovea", NAMESPACE, values) for values in CASES}


@pytest.mark.parametrize("values", CASES, ids=[f"{path.parent.name}-{path.stem}" for path in CASES])
def test_every_object_is_accepted(values: Path, helm: Helm, rendered: dict[Path, tuple[str, str]]) -> None:
    manifest, refusal = rendered[values]
    if values in REFUSED:
        assert TOO_OLD.search(refusal)
        return
    assert not refusal
    applied = helm.kubectl_apply(manifest, NAMESPACE)
    assert len(applied.splitlines()) == len(objects(manifest))


def test_an_object_that_is_wrong_would_not_be(helm: Helm) -> None:
    manifest, _ = helm.would_install("fovea", NAMESPACE, PRESETS / "h100-x1.yaml")
    manifest = manifest.replace("terminationGracePeriodSeconds:", "terminationGraceSeconds:")
    assert ".spec.template.spec.terminationGraceSeconds: field not declared in schema" in helm.kubectl_apply(
        manifest, NAMESPACE, fails=True
    )


def test_the_kinds_that_others_bring_are_among_them(rendered: dict[Path, tuple[str, str]]) -> None:
    found = {f"{each['apiVersion']} {each['kind']}" for sent, _ in rendered.values() for each in objects(sent)}
    known = {f"{group} {kind}" for group, kinds in KINDS.items() for kind in kinds}
    assert known <= found
    assert "autoscaling/v2beta2 HorizontalPodAutoscaler" in found
