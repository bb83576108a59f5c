"""The schemas of each Kubernetes refuse what its API server would, and as kubernetes-validate itself says."""

from typing import Any

import kubernetes_validate
import pytest

from tests.chart.kubernetes_schemas import VERSIONS, mistakes

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "fovea"},
    "spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "fovea"}},
}
BUDGET: dict[str, Any] = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "fovea"},
    "spec": {"maxUnavailable": "25%"},
}
WRONG = [
    SERVICE | {"spec": {"ports": [{"port": "80"}]}},
    SERVICE | {"spec": {"ports": [{"port": 80, "tagetPort": 80}]}},
    SERVICE | {"sepc": {}},
    BUDGET | {"spec": {"maxUnavailable": [1]}},
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [SERVICE, BUDGET])
def test_what_is_right_is_so_in_every_kubernetes(manifest: dict[str, Any], version: str) -> None:
    assert list(mistakes(manifest, version)) == []


@pytest.mark.parametrize("manifest", WRONG)
def test_what_is_wrong_is_so_for_kubernetes_validate_too(manifest: dict[str, Any]) -> None:
    assert list(mistakes(manifest, "1.37"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_a_misspelt_key_is_named_with_its_place() -> None:
    (sentence,) = mistakes(WRONG[1], "1.29")
    assert sentence.startswith("Service/fovea on Kubernetes 1.29: spec.ports.0: Additional properties")
    assert "tagetPort" in sentence


def test_kinds_that_a_kubernetes_lacks_are_an_error() -> None:
    with pytest.raises(KeyError, match=r"Kubernetes 1\.37 has no policy/v1beta1 PodDisruptionBudget"):
        list(mistakes(BUDGET | {"apiVersion": "policy/v1beta1"}, "1.37"))


def test_the_newest_kubernetes_that_there_are_schemas_of_is_checked() -> None:
    assert kubernetes_validate.latest_version() == f"{VERSIONS[-1]}.0"
