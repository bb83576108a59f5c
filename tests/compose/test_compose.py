"""deploy/compose.yaml: docker compose takes it, and it is as closed, bounded and pinned as it says."""

import re

import pytest
import yaml

from deploy.images.build import IMAGES
from server.cli import SPARE_STOP_S as SPARE_OF_GATEWAYS
from server.engine.stopping import ORPHANS_S, SPARE_STOP_S
from server.engine.vllm_command import DRAIN_S, GRACE_S
from server.settings import Settings
from tests.compose.project import DEPLOY, ENGINES, FILE, OURS, everything, project

SERVICES = (
    "gateway", "engine-cpu", "engine-gpu", "limits", "embeddings", "prometheus", "alertmanager", "grafana",
)  # fmt: skip
STORES = ("limits", "embeddings")
OBSERVING = {"prometheus", "alertmanager", "grafana"}
# No digest is known of it that several public sources agree on (docs/guides/compose.md).
BY_TAG_ALONE = {"valkey/valkey:8.1.5"}
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert found is not None
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def test_each_profile_has_its_engine_and_observing_comes_on_top() -> None:
    for profile, engine in ENGINES.items():
        assert project(profile)["services"].keys() == {"gateway", engine, *STORES}
        assert project(profile, "observe")["services"].keys() == {"gateway", engine, *STORES, *OBSERVING}
    assert everything().keys() == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_change_nothing_gain_nothing_and_is_nobody(name: str) -> None:
    service = everything()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "network_mode", "devices"}
    user, _, group = service["user"].partition(":")
    assert user != "0"
    assert group != ""
    if name in OURS:
        assert service["user"] == "10001:10001"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_bounded_watched_and_started_again(name: str) -> None:
    service = everything()[name]
    assert service["restart"] == "unless-stopped"
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}
    limits = service["deploy"]["resources"]["limits"]
    assert int(limits["memory"]) > 0
    assert limits["pids"] > 0
    assert service["healthcheck"]["test"][0] == "CMD"
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] in ("service_started", "service_healthy")
        assert "healthcheck" in everything()[other]


def test_nothing_is_published_but_the_gateway_and_grafana_and_those_on_loopback() -> None:
    published = {name: service["ports"] for name, service in everything().items() if "ports" in service}
    assert published.keys() == {"gateway", "grafana"}
    for ports in published.values():
        assert [port["host_ip"] for port in ports] == ["127.0.0.1"]
    assert re.search(r'ports: \["127\.0\.0\.1:\$\{GRAFANA_PORT', FILE.read_text())


def test_engines_and_stores_lie_in_networks_that_lead_nowhere() -> None:
    networks = {
        name: network.get("internal", False)
        for name, network in project("cpu", "gpu", "observe")["networks"].items()
    }
    services = everything()
    outside = {name for name, internal in networks.items() if not internal}
    assert outside == {"outside"}
    inside = {name for name, service in services.items() if not outside & service["networks"].keys()}
    assert inside == {"engine-cpu", "engine-gpu", *STORES, "prometheus"}


@pytest.mark.parametrize(
    ("network", "members"),
    [
        ("engines", {"engine-cpu", "engine-gpu", "gateway", "prometheus"}),
        ("limits", {"limits", "gateway"}),
        ("embeddings", {"embeddings", "engine-cpu", "engine-gpu"}),
    ],
)
def test_who_reaches_engines_and_stores_is_named_here(network: str, members: set[str]) -> None:
    assert {name for name, service in everything().items() if network in service["networks"]} == members


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_and_names_no_registry(name: str) -> None:
    image = everything()[name]["image"]
    found = re.fullmatch(r"([a-z][a-z0-9-]*/)?[a-z0-9-]+:(v?\d+\.\d+\.\d+)(@sha256:[0-9a-f]{64})?", image)
    assert found is not None, image
    ours = image.startswith("fovea-")
    assert ours == (name in OURS)
    assert not ours or found[0].partition(":")[0].removeprefix("fovea-") in IMAGES, "what `make images` builds"
    assert ours or found[3] or image in BY_TAG_ALONE


def test_what_is_stopped_has_the_time_that_it_takes() -> None:
    services, http = everything(), Settings().http
    told = yaml.safe_load((DEPLOY / "compose" / "gateway.yaml").read_text())["http"]
    assert not told.keys() & {"drain_grace_s", "drain_s"}
    of_gateway = http.drain_grace_s + http.drain_s + SPARE_OF_GATEWAYS
    assert of_gateway <= seconds(services["gateway"]["stop_grace_period"]) <= of_gateway + 10
    of_engine = GRACE_S + DRAIN_S + SPARE_STOP_S + ORPHANS_S
    for name in ENGINES.values():
        assert of_engine <= seconds(services[name]["stop_grace_period"]) <= of_engine + 10


def test_the_gpu_engine_has_gpus_shared_memory_and_the_rights_that_cuda_wants() -> None:
    engine = everything()["engine-gpu"]
    assert engine["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    ]
    assert int(engine["shm_size"]) > 2 * 4 * 1024**3, "the arena takes half of what is free"
    assert engine["ipc"] == "private"
    assert engine["ulimits"]["memlock"] == -1


def test_what_engines_compile_may_be_run() -> None:
    """Docker mounts a tmpfs noexec otherwise, and Triton's kernels cannot be loaded."""
    for name in ENGINES.values():
        assert [each.partition(":")[0] for each in everything()[name]["tmpfs"]] == ["/tmp"]
        assert "exec" in everything()[name]["tmpfs"][0].partition(":")[2].split(",")


def test_the_example_of_an_environment_names_every_variable_with_its_default() -> None:
    told = dict(re.findall(r"^#?([A-Z]\w+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE))
    used = {name: set() for name, _ in VARIABLE.findall(FILE.read_text())}  # type: dict[str, set[str]]
    for name, default in VARIABLE.findall(FILE.read_text()):
        used[name].add(default)
    assert told.pop("COMPOSE_PROFILES") == "cpu,observe"
    assert told.keys() == used.keys()
    for name, defaults in used.items():
        assert told[name] in defaults, name
    assert FILE.read_text().count("${") == len(VARIABLE.findall(FILE.read_text()))
