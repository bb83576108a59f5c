"""`fovea doctor` and `fovea ask` on a deployment of real vLLM."""

import pytest

from server.doctor.deployment import check_engine, check_gateway
from server.doctor.finding import worst
from server.trial import Trial, run_trial
from tests.conftest import Stack


@pytest.mark.real
def test_a_deployment_that_serves_is_found_well(fp8: Stack) -> None:
    assert worst(check_gateway(fp8.url, "")) != "failure"
    found = list(check_engine(fp8.engine))
    assert worst(found) != "failure", found
    assert {each.told for each in found} >= {"healthy", "tells its metrics", "version 0.1.0"}


@pytest.mark.real
def test_asked_about_a_red_square_the_model_sees_its_colour(fp8: Stack) -> None:
    answer = run_trial(Trial(fp8.url))
    assert answer.text.lower().startswith("red"), answer
    assert answer.prompt_tokens > 16
