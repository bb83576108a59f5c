"""Where there is no Helm, what needs one is skipped, and says what to do."""

import pytest

from helm.template import HELMS, find_helm
from tests.chart.release import Chart
from tests.chart.rendering import NO_HELM


@pytest.fixture(scope="session")
def helms() -> None:
    """Both of them are there."""
    if not all(find_helm(helm) for helm in HELMS):
        pytest.skip(NO_HELM)


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return Chart(tmp_path_factory.mktemp("values"))
