"""`fovea doctor` on a deployment of real vLLM."""

import pytest

from server.doctor.deployment import check_engine, check_gateway
from server.doctor.finding import worst
from tests.conftest import Stack


@pytest.mark.real
def test_a_deployment_that_serves_is_found_well(fp8: Stack) -> None:
    assert worst(check_gateway(fp8.url, "")) != "failure"
    found = list(check_engine(fp8.engine))
    assert worst(found) != "failure", found
    assert {each.told for each in found} >= {"healthy", "tells its metrics", "version 0.1.0"}
