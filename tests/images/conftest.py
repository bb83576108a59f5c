"""The images, built once a run, and nothing left of them."""

from collections.abc import Iterator

import pytest

from deploy.images import build as building
from deploy.images.build import BUILDAH, Build
from tests.images import containers
from tests.images.containers import BASE

# No cache of layers: there is but one build. Nothing is pulled, whatever a Dockerfile names.
OPTIONS = ("--pull-never", "--layers=false", "--quiet", "--build-arg", f"PYTHON_IMAGE={BASE}")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image that ours are built on."""
    if why := containers.missing():
        pytest.skip(f"SKIPPED: {why}")
    folder = tmp_path_factory.mktemp("containers")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in containers.settings_in(folder).items():
            patch.setenv(name, value)
        try:
            containers.import_base()
            yield BASE
        finally:
            containers.remove_all(folder)


@pytest.fixture(scope="session")
def quantizer(base: str) -> str:
    building.build(BUILDAH, Build("quantize", "fovea-quantize:test", options=OPTIONS))
    return "fovea-quantize:test"


@pytest.fixture(scope="session")
def gateway(base: str) -> str:
    building.build(BUILDAH, Build("gateway", "fovea-gateway:test", options=OPTIONS))
    return "fovea-gateway:test"
