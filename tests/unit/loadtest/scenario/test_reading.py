"""A scenario that cannot be run says why in one sentence, with the key."""

from pathlib import Path

import pytest

from loadtest.scenario.document import Closed, ScenarioError, Zipf
from loadtest.scenario.reading import read_scenario

WHOLE = "name: x\narrival: {kind: closed, concurrency: 2}\nrequests: 5\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WHOLE + "picture: {}\n", "picture: Extra inputs are not permitted"),
        (WHOLE + "duration_s: 5\n", "say either requests or duration_s"),
        ("name: x\narrival: {kind: closed, concurrency: 2}\n", "say either requests or duration_s"),
        (WHOLE + "pictures: {reuse: {kind: zipf}}\n", "pictures.reuse.zipf.skew: Field required"),
        (WHOLE + "pictures: {sizes: [{width: 8, height: 64}]}\n", "pictures.sizes.0.width: "),
        (WHOLE + "tenants: [{name: a}, {name: a}]\n", "two tenants have the same name"),
        (
            WHOLE + "tenants: [{name: a}, {name: b, arrival: {kind: poisson, rate: 1}}]\n",
            "a tenant's own arrival goes with poisson or bursts only",
        ),
        ("name: x\narrival: {kind: poisson, rate: 1}\nduration_s: .inf\n", "duration_s: "),
        (WHOLE + "text: {prompt_tokens: {mean: .nan}}\n", "text.prompt_tokens.mean: "),
        (WHOLE + "text: {prompt_tokens: {mean: 9, least: 8, most: 7}}\n", "least is more than most"),
        ("name: x\nrequests: 1\narrival: {kind: flood}\n", "arrival: "),
        ("[", "is not readable YAML (line 1, column 2: "),
        ("- a\n", "must be a mapping of keys to values"),
        (WHOLE.replace("x", "Big X"), "name: must be lower-case letters, digits and dashes"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as told:
        read_scenario(str(path))
    assert says in str(told.value)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="catalogue, inspection-drone, multi-turn"):
        read_scenario("nothing")


def test_what_is_set_goes_over_the_scenario_and_into_its_text() -> None:
    sets = ["pictures.reuse.skew=1.5", "arrival={kind: closed, concurrency: 3}", "duration_s=null", "requests=9"]
    scenario, text = read_scenario("catalogue", sets)
    assert isinstance(scenario.pictures.reuse, Zipf)
    assert isinstance(scenario.arrival, Closed)
    assert (scenario.pictures.reuse.skew, scenario.arrival.concurrency, scenario.requests) == (1.5, 3, 9)
    assert scenario.duration_s is None
    assert "skew: 1.5" in text


@pytest.mark.parametrize("setting", ["requests", "name.x=1", "pictures.sizes.x=1"])
def test_a_setting_that_fits_nowhere_is_refused(setting: str) -> None:
    with pytest.raises(ScenarioError, match="is not KEY"):
        read_scenario("catalogue", [setting])


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"pictures.reuse.zipf.skw: Extra inputs"):
        read_scenario("catalogue", ["pictures.reuse.skw=1"])
