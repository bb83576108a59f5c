"""The images, built once a run, and nothing left of them; whoever works on tests may keep them in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.images import build as building
from deploy.images.build import BUILDAH, Build
from tests.images import containers
from tests.images.containers import BASE, exists

# No cache of layers: there is but one build. Nothing is pulled, whatever a Dockerfile names.
KEEP = "FOVEA_TEST_CONTAINERS"
# Builds are minutes of both cores where others use them, too, and the first test waits for them.
BUILD_S = 2400
HERE = Path(__file__).parent
OPTIONS = ("--pull-never", "--layers=false", "--quiet", "--build-arg", f"PYTHON_IMAGE={BASE}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(BUILD_S))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image that ours are built on."""
    if why := containers.missing():
        pytest.skip(f"SKIPPED: {why}")
    kept = os.environ.get(KEEP)
    folder = Path(kept) if kept else tmp_path_factory.mktemp("containers")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in containers.settings_in(folder).items():
            patch.setenv(name, value)
        try:
            containers.import_base()
            yield BASE
        finally:
            if not kept:
                containers.remove_all(folder)


@pytest.fixture(scope="session")
def quantizer(base: str) -> str:
    return built("quantize")


@pytest.fixture(scope="session")
def gateway(base: str) -> str:
    return built("gateway")


def built(name: str) -> str:
    """Its tag. What lies in a kept folder is as old as it is."""
    tag = f"fovea-{name}:test"
    if not (os.environ.get(KEEP) and exists(tag)):
        building.build(BUILDAH, Build(name, tag, building.known_wheels(), OPTIONS))
    return tag
