from typing import Any

from deploy.control_plane.definitions import PORT, definitions, go_name

POD = "io.k8s.api.core.v1.Pod"
SWAGGER: dict[str, Any] = {
    "definitions": {
        "io.k8s.api.core.v1.ContainerPort": {"properties": {"protocol": {"type": "string"}}},
        POD: {
            "description": "a pod",
            "properties": {
                "description": {"type": "string", "description": "a text"},
                "spec": {"$ref": "#/definitions/io.k8s.api.core.v1.PodSpec"},
                "times": {"items": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time"}},
            },
            "x-kubernetes-group-version-kind": [{"kind": "Pod"}],
        },
    }
}


def test_names_are_those_of_the_types_in_go() -> None:
    assert go_name(POD) == "k8s.io/api/core/v1.Pod"
    assert go_name("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService") == (
        "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1.APIService"
    )


def test_a_type_comes_with_what_it_is_made_of_and_without_texts() -> None:
    made = definitions(SWAGGER)["k8s.io/api/core/v1.Pod"]
    assert made["dependencies"] == ["k8s.io/api/core/v1.PodSpec", "k8s.io/apimachinery/pkg/apis/meta/v1.Time"]
    assert made["schema"]["properties"]["description"] == {"type": "string"}
    assert "description" not in made["schema"]
    assert made["schema"]["x-kubernetes-group-version-kind"] == [{"kind": "Pod"}]


def test_ports_have_the_default_by_which_they_are_told_apart() -> None:
    made = definitions(SWAGGER)
    assert made[PORT]["schema"]["properties"]["protocol"] == {"type": "string", "default": "TCP"}
    assert made["k8s.io/api/core/v1.PodExecOptions"]["dependencies"] == []
