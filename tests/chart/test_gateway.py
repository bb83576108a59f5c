"""What the chart tells gateways is what they take, and follows from the pools."""

from typing import Any

import pytest
import yaml

from server.settings import Settings
from tests.chart.rendering import NEWEST, cases, rendered

pytestmark = pytest.mark.usefixtures("helms")
MIB = 1024**2


def files(case: str) -> dict[str, str]:
    (config,) = [
        each["data"]
        for each in rendered(NEWEST, case)
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "fovea-gateway"
    ]
    return dict(config)


def settings(case: str) -> Settings:
    return Settings(**yaml.safe_load(files(case)["fovea.yaml"]))


def pod() -> dict[str, Any]:
    (found,) = [
        each["spec"]["template"]["spec"]
        for each in rendered(NEWEST, "own-engines")
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "fovea-gateway"
    ]
    return dict(found)


@pytest.mark.parametrize("case", cases())
def test_the_gateway_takes_its_settings(case: str) -> None:
    assert settings(case).engines.pools or settings(case).engines.urls


def test_each_pool_is_found_by_its_service() -> None:
    services = {
        f"http://{each['metadata']['name']}.fovea.svc:{each['spec']['ports'][0]['port']}"
        for each in rendered(NEWEST, "own-engines")
        if each["kind"] == "Service" and each["metadata"]["labels"]["app.kubernetes.io/component"] == "engine"
    }
    pools = settings("own-engines").engines.pools
    assert {pool.dns for pool in pools} == services
    assert {pool.name: (pool.models, pool.weight) for pool in pools} == {
        "one": (("a",), 1),
        "several": (("b",), 0.25),
        "uncached": (("c",), 1),
        "scaled": (("d",), 1),
    }


def test_what_is_set_by_hand_stands_beside_what_is_computed() -> None:
    http = settings("own-engines").http
    assert (http.host, http.port, http.workers, http.keepalive_s) == ("0.0.0.0", 8080, 2, 5)
    assert (http.max_bytes_in_flight, http.drain_grace_s, http.drain_s) == (1024 * MIB, 7, 100)


def test_it_lets_in_what_some_engine_takes_and_remembers_what_every_engine_keeps() -> None:
    told = settings("own-engines")
    assert told.images.max_count == 20
    assert told.engines.hash_first_bytes == 512 * MIB
    assert told.admission.gateways == 2


def test_pictures_are_priced_by_the_values_or_the_store_and_not_by_claims_it_does_not_mount() -> None:
    paths = {model: str(path) for model, path in settings("own-engines").admission.preprocessors.items()}
    assert paths == {"a": "/models/folder", "b": "/models/b", "d": "/etc/fovea/config/preprocessor-scaled.json"}
    assert yaml.safe_load(files("own-engines")["preprocessor-scaled.json"])["patch_size"] == 16
    waits = {each["args"][1] for each in pod()["initContainers"]}
    assert waits == {"/models/folder", "/models/b"}


def test_its_memory_holds_what_all_its_processes_may() -> None:
    (container,) = pod()["containers"]
    assert container["resources"]["limits"]["memory"] == f"{2 * (3 * 1024 + 512)}Mi"
    assert container["resources"]["requests"]["cpu"] == "2"


def test_it_has_time_to_stop() -> None:
    assert pod()["terminationGracePeriodSeconds"] >= 7 + 100 + 15


def test_the_keys_are_those_of_the_secret_that_is_named() -> None:
    (keys,) = [each["secret"] for each in pod()["volumes"] if each["name"] == "keys"]
    assert keys["secretName"] == "keys"
    assert keys["items"] == [{"key": "keys.yaml", "path": "keys.yaml"}]
    assert str(settings("own-engines").auth.keys_file) == "/etc/fovea/keys/keys.yaml"


def test_no_service_of_the_cluster_becomes_a_setting() -> None:
    """Kubernetes would make FOVEA_GATEWAY_PORT of the Service fovea-gateway, which is no setting."""
    assert pod()["enableServiceLinks"] is False


def test_scaled_gateways_share_engines_by_a_number_that_suits_few_of_them_and_many() -> None:
    """The fewest let in all that engines hold, by four times their part; the most, no more than that."""
    scaled = settings("own-everything").admission
    assert (scaled.gateways, scaled.overcommit) == (8, 4)
