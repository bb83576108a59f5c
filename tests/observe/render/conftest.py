"""The page that draws dashboards, built once a test run."""

from pathlib import Path

import pytest

from deploy.grafana.render.built_page import build_page
from deploy.grafana.render.chromium import find_chromium


@pytest.fixture(scope="session")
def built_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_chromium() is None:
        pytest.skip("SKIPPED: no chromium: make setup, or apt-get install chromium")
    folder = tmp_path_factory.mktemp("page")
    build_page(folder)
    return folder
