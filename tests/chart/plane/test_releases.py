"""What a user does with a release, on Kubernetes' control plane: install, upgrade, roll back, scale, uninstall."""

from typing import Any

import pytest

from helm.template import ROOT
from tests.chart.plane.conftest import Plane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import wait_until
from tests.chart.plane.pod_status import Does

pytestmark = pytest.mark.timeout(2400)  # the first waits for the build

KINDS = (
    "pods deployments replicasets jobs services configmaps secrets serviceaccounts networkpolicies "
    "poddisruptionbudgets persistentvolumeclaims endpointslices horizontalpodautoscalers"
).split()
SMALL: dict[str, Any] = {
    "gateway": {"allowAnonymous": True, "replicas": 1},
    "pools": [{"name": "main", "preset": "h100", "model": {"name": "seen"}}],
}


def small(**pool: Any) -> dict[str, Any]:
    return SMALL | {"pools": [SMALL["pools"][0] | pool]}


def there(plane: Plane, namespace: str) -> set[str]:
    """What a namespace holds, without what Kubernetes puts into each."""
    found = {f"{kind}/{each['metadata']['name']}" for kind in KINDS for each in plane.api.list(kind, namespace)}
    return {
        each
        for each in found
        if not each.startswith(("secrets/default-token", "serviceaccounts/default", "configmaps/kube-root"))
    }


def pods(plane: Plane, namespace: str, component: str) -> dict[str, dict[str, Any]]:
    """By uid, those that stay."""
    label = f"app.kubernetes.io/component={component}"
    found = plane.api.list("pods", namespace, labelSelector=label)
    return {each["metadata"]["uid"]: each for each in found if not each["metadata"].get("deletionTimestamp")}


def test_an_install_waits_until_all_is_ready_and_an_uninstall_leaves_the_models_alone(
    plane: Plane, each_helm: Helm, namespace: str
) -> None:
    each_helm.install("fovea", namespace, SMALL)
    for component in ("gateway", "engine"):
        (pod,) = pods(plane, namespace, component).values()
        assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}["Ready"] == "True"
    (engine,) = pods(plane, namespace, "engine").values()
    assert engine["spec"]["nodeName"] == "gpus"
    assert engine["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    (claim,) = plane.api.list("persistentvolumeclaims", namespace)
    assert claim["status"]["phase"] == "Bound"

    each_helm("uninstall", "fovea", "--namespace", namespace, "--wait")
    kept = {f"persistentvolumeclaims/{claim['metadata']['name']}"}
    wait_until(lambda: there(plane, namespace) == kept, f"{kept} alone is left, not {there(plane, namespace)}")


def test_the_readme_installs_one_h100(plane: Plane, helm: Helm) -> None:
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("helm install ")]
    assert line.startswith("helm install fovea helm/fovea --namespace fovea --create-namespace ")
    assert " --wait" in line
    plane.api.create("namespaces", "", {"metadata": {"name": "fovea"}})
    plane.api.create("secrets", "fovea", {"metadata": {"name": "fovea-keys"}, "data": {"keys.yaml": ""}})
    helm.shell(line)
    assert len(pods(plane, "fovea", "gateway")) == 2
    (engine,) = pods(plane, "fovea", "engine").values()
    assert engine["spec"]["containers"][0]["image"].startswith("registry.example.com/fovea/fovea-engine:")
    jobs = {each["metadata"]["name"].rpartition("-")[0]: each["status"] for each in plane.api.list("jobs", "fovea")}
    assert jobs.keys() == {"fovea-download-main", "fovea-quantize-main"}
    helm("uninstall", "fovea", "--namespace", "fovea", "--wait")
    kept = {"persistentvolumeclaims/fovea-models", "secrets/fovea-keys"}
    wait_until(lambda: there(plane, "fovea") == kept, f"{kept} alone are left")


def test_gateways_find_each_engine_by_its_address(plane: Plane, helm: Helm, namespace: str) -> None:
    helm.install("fovea", namespace, small(replicas=2))
    addresses = {each["status"]["podIP"] for each in pods(plane, namespace, "engine").values()}

    def told() -> set[str]:
        slices = plane.api.list("endpointslices", namespace, labelSelector="app.kubernetes.io/component=engine")
        ends = [end for each in slices for end in each["endpoints"] or [] if end["conditions"]["ready"]]
        return {address for end in ends for address in end["addresses"]}

    wait_until(lambda: told() == addresses and len(addresses) == 2, "both engines' addresses in the EndpointSlice")
    (service,) = [
        each for each in plane.api.list("services", namespace) if each["metadata"]["name"] == "fovea-engine-main"
    ]
    assert service["spec"]["clusterIP"] == "None"
    (config,) = [
        each for each in plane.api.list("configmaps", namespace) if each["metadata"]["name"] == "fovea-gateway"
    ]
    assert f"http://fovea-engine-main.{namespace}.svc:8000" in config["data"]["fovea.yaml"]


def test_a_setting_of_the_gateway_restarts_gateways_alone_and_a_rollback_brings_the_old_one_back(
    plane: Plane, helm: Helm, namespace: str
) -> None:
    helm.install("fovea", namespace, SMALL)
    engines, gateways = pods(plane, namespace, "engine"), pods(plane, namespace, "gateway")
    before = plane.api.list("configmaps", namespace, labelSelector="app.kubernetes.io/component=gateway")[0]["data"]

    changed = SMALL | {"gateway": SMALL["gateway"] | {"config": {"http": {"max_body": "7MiB"}}}}
    helm.upgrade("fovea", namespace, changed)
    assert pods(plane, namespace, "engine").keys() == engines.keys()
    wait_until(lambda: len(pods(plane, namespace, "gateway")) == 1, "one gateway")
    assert not pods(plane, namespace, "gateway").keys() & gateways.keys()
    now = plane.api.list("configmaps", namespace, labelSelector="app.kubernetes.io/component=gateway")[0]["data"]
    assert "max_body: 7MiB" in now["fovea.yaml"]

    helm("rollback", "fovea", "1", "--namespace", namespace, "--wait", "--timeout=4m")
    back = plane.api.list("configmaps", namespace, labelSelector="app.kubernetes.io/component=gateway")[0]["data"]
    assert back == before
    assert pods(plane, namespace, "engine").keys() == engines.keys()


def test_engines_come_and_go_with_replicas_and_the_others_stay(plane: Plane, helm: Helm, namespace: str) -> None:
    helm.install("fovea", namespace, small(replicas=1, strategy={"type": "Recreate"}))
    (first,) = pods(plane, namespace, "engine")
    helm.upgrade("fovea", namespace, small(replicas=3, strategy={"type": "Recreate"}))
    three = pods(plane, namespace, "engine")
    assert len(three) == 3
    assert first in three
    helm.upgrade("fovea", namespace, small(replicas=1, strategy={"type": "Recreate"}))
    wait_until(lambda: len(pods(plane, namespace, "engine")) == 1, "one engine is left")


def test_helm_test_is_the_test_pods_word(plane: Plane, helm: Helm, namespace: str) -> None:
    helm.install("fovea", namespace, SMALL)
    assert "Phase:          Succeeded" in helm("test", "fovea", "--namespace", namespace)

    def ask(pod: dict[str, Any], container: str) -> Does | None:
        here = pod["metadata"]["namespace"] == namespace
        return Does(1, "fovea: the answer holds no text") if here and container == "ask" else None

    with plane.kubelet.told(ask):
        helm("test", "fovea", "--namespace", namespace, fails=True)
    (pod,) = pods(plane, namespace, "test").values()
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["message"] == "fovea: the answer holds no text"


def test_two_releases_in_a_namespace_have_nothing_in_common(plane: Plane, helm: Helm, namespace: str) -> None:
    helm.install("one", namespace, SMALL)
    ones = there(plane, namespace)
    helm.install("two", namespace, SMALL)
    twos = there(plane, namespace) - ones
    assert len([each for each in twos if each.startswith("pods/")]) == 2
    for service in plane.api.list("services", namespace):
        selector = service["spec"]["selector"]
        selected = plane.api.list(
            "pods", namespace, labelSelector=",".join(f"{k}={v}" for k, v in selector.items())
        )
        assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in selected} == {
            service["metadata"]["labels"]["app.kubernetes.io/instance"]
        }
    helm("uninstall", "two", "--namespace", namespace, "--wait")
    wait_until(
        lambda: there(plane, namespace) - {"persistentvolumeclaims/two-fovea-models"} == ones, "the first as it was"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"gateway": {"replicas": "two"}}, "replicas"), (small(preset="h1000"), "there is no preset 'h1000'")],
    ids=["by the schema", "by a template"],
)
def test_a_wrong_value_is_refused_before_anything_is_there(
    wrong: dict[str, Any], said: str, plane: Plane, each_helm: Helm, namespace: str
) -> None:
    assert said in each_helm.install("fovea", namespace, SMALL | wrong, fails=True)
    assert there(plane, namespace) == set()


def test_policies_of_the_network_select_pods_that_there_are(plane: Plane, helm: Helm, namespace: str) -> None:
    helm.install("fovea", namespace, SMALL)
    labels = [pod["metadata"]["labels"] for pod in plane.api.list("pods", namespace)]
    selected = {
        each["metadata"]["name"]: [
            own for own in labels if each["spec"]["podSelector"].get("matchLabels", {}).items() <= own.items()
        ]
        for each in plane.api.list("networkpolicies", namespace)
    }
    assert selected["fovea-default-deny"] == labels, "all are denied what nobody named"
    assert {each["app.kubernetes.io/component"] for each in selected["fovea-engine"]} == {"engine"}
    assert {each["app.kubernetes.io/component"] for each in selected["fovea-gateway"]} == {"gateway"}
