"""One plane for all tests here: it takes ten seconds to start and nothing to share."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.control_plane.place import PACKAGES, Place
from helm.template import find_helm
from tests.chart.plane.api import Api
from tests.chart.plane.control_plane import ControlPlane
from tests.chart.plane.helm import Helm
from tests.chart.plane.kubelet import Kubelet, wait_until

BUILD_S = 1500
HOW = "python3 deploy/environments/set_up.py control-plane"
STORAGE = "stand-in"


@dataclass(frozen=True)
class Plane:
    """A cluster: its API and the stand-in for its kubelets."""

    api: Api
    kubelet: Kubelet
    kubeconfig: Path


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """Where they are built. Where that is being done, it is waited for."""
    place = Place()
    if not place.is_built() and place.is_building():
        place.hurry()
        wait_for_build(place, pytestconfig)
    if place.is_built():
        return place.folder
    kind, sentence = place.failure()
    if kind == "unavailable":
        pytest.skip(f"SKIPPED: no control plane: {sentence}: {HOW}")
    pytest.fail("\n".join([f"the control plane was not built: {sentence}", *place.last_lines(30)]), pytrace=False)


def wait_for_build(place: Place, config: pytest.Config) -> None:
    """Says every while how far it is, past pytest's capturing."""
    told = [-1]

    def done() -> bool:
        part = place.compiled() * 100 // PACKAGES // 10
        if part > told[0]:
            told[0] = part
            with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print(f"\nthe control plane is being built: {place.compiled()} of {PACKAGES} packages", flush=True)
        return not place.is_building()

    wait_until(done, "the end of the control plane's build", BUILD_S)


@pytest.fixture(scope="session")
def plane(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with ControlPlane(programs, tmp_path_factory.mktemp("plane")).run() as control_plane:
        kubelet = Kubelet(control_plane.api())
        api = control_plane.api()
        api.create("storageclasses", "", storage_class())
        kubelet.add_node("cpus", gpus=0)
        kubelet.add_node("gpus", gpus=64)
        with kubelet.running():
            yield Plane(api, kubelet, control_plane.kubeconfig)
        assert not kubelet.trouble, kubelet.trouble[-1]


def storage_class() -> dict[str, object]:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {"metadata": {"name": STORAGE, "annotations": default}, "provisioner": "fovea.dev/stand-in"}


@pytest.fixture(scope="session", params=["helm-v3", "helm-v4"])
def each_helm(request: pytest.FixtureRequest, plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return helm_of(request.param, plane, tmp_path_factory)


@pytest.fixture(scope="session")
def helm(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The newer one."""
    return helm_of("helm-v4", plane, tmp_path_factory)


def helm_of(environment: str, plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    program = find_helm(environment)
    if program is None:
        pytest.skip(f"SKIPPED: no {environment}: make setup")
    return Helm(program, plane.kubeconfig, tmp_path_factory.mktemp(environment))


@pytest.fixture
def namespace(plane: Plane) -> Iterator[str]:
    """A name that no test has had. Whatever is made in it goes, while the next test runs."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    yield name
    plane.api.delete("namespaces", "", name)
