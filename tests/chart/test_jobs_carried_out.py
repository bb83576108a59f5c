"""What Jobs are told by the arguments that Helm renders, our programs understand and do, and may be told twice."""

import copy
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner

from helm.template import ROOT, Manifest
from quantize import verify
from quantize.cli import app as quantize
from quantize.evaluate.suite import SightSuite
from quantize.pull import parse_origin
from server import healthcheck
from server.cli import app as fovea
from tests.chart.release import BASE, SOURCES, Chart, engine_of, of_kind, only, pool, steps, trial
from tests.chart.rendering import NEWEST, rendered
from tests.conftest import DEMO_MODEL
from tests.fakes.oracle import Oracle
from tests.fakes.serve import serving

pytestmark = pytest.mark.usefixtures("helms")
# By what a container begins.
PROGRAMS = {"fovea-quantize": quantize, "fovea": fovea}


def program_of(container: Manifest) -> str:
    image = container["image"].rpartition("/")[2].partition(":")[0]
    return str(container.get("command", ["fovea-quantize" if image == "fovea-quantize" else "fovea"])[0])


@cache
def command_of(name: str) -> Any:
    """Of typer's own copy of click."""
    return typer.main.get_command(PROGRAMS[name])


def parse(container: Manifest) -> str:
    """As the program's own parser has it; the subcommand's name. Raises click's errors."""
    group = command_of(program_of(container))
    name, *arguments = container["args"]
    outer = group.make_context("program", [name])
    group.get_command(outer, name).make_context(name, list(arguments), parent=outer)
    return str(name)


def run(container: Manifest, places: dict[str, str]) -> tuple[int, str]:
    """The container's own arguments, folders and addresses of the cluster exchanged for some of here."""
    result = CliRunner().invoke(PROGRAMS[program_of(container)], moved(container["args"], places))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def moved(arguments: list[str], places: dict[str, str]) -> list[str]:
    for there, here in places.items():
        arguments = [argument.replace(there, here) for argument in arguments]
    return arguments


@pytest.fixture
def signals() -> Iterator[None]:
    """What a command does when told to stop is not what pytest does."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("case", ["canary", "cpu-demo", "l4-x1"])
def test_every_step_is_told_what_its_program_understands(case: str) -> None:
    jobs = of_kind(rendered(NEWEST, case), "Job")
    assert jobs
    told = [[parse(container) for container in steps(job)] for job in jobs]
    assert ["await-checkpoint", "plan", "run", "verify"] in told
    waiting = [engine_of(rendered(NEWEST, case), each["name"]) for each in preset_pools(case)]
    assert [parse(spec["initContainers"][0]) for spec in waiting] == ["await-checkpoint"] * len(waiting)


@pytest.mark.parametrize("kind", ["hub", "oci", "s3"])
def test_every_source_is_one_that_pull_understands(chart: Chart, kind: str) -> None:
    (container,) = steps(only(chart(pool({kind: SOURCES[kind]})), "Job"))
    assert parse(container) == "pull"
    where, endpoint = container["args"][1], SOURCES[kind].get("endpoint")
    assert parse_origin(where, endpoint).where in where


def preset_pools(case: str) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "helm" / "fovea" / "presets" / f"{case}.yaml").read_text())
    return list(loaded["pools"])


@pytest.mark.usefixtures("signals")
def test_the_demos_job_does_what_it_is_told_and_may_do_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "find_interpreter", lambda *_: None)  # the image has no vLLM
    manifests = rendered(NEWEST, "cpu-demo")
    job, spec = only(manifests, "Job"), engine_of(manifests, "demo")
    places = {"/models": str(tmp_path), "/opt/fovea-demo": str(DEMO_MODEL)}
    waits = copy.deepcopy(spec["initContainers"][0])
    waits["args"] += ["--timeout", "0s"]
    code, said = run(waits, places)
    assert (code, "is not there yet" in said) == (3, True), said
    code, said = run(waits, {"/models/fovea-demo-fp8": str(DEMO_MODEL)})
    assert (code, said.count("\n")) == (1, 1)
    assert f"{DEMO_MODEL} is not quantized and has no fovea-report.json" in said
    for how in ("written in", "is there already, made by fp8-dynamic"):
        done = [run(container, places) for container in steps(job)]
        assert [code for code, _ in done] == [0] * 4, done
        assert how in done[2][1]
    code, said = run(waits, places)
    assert (code, "proved" in said) == (0, True), said
    flipped = tmp_path / "fovea-demo-fp8" / "model.safetensors"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x55")
    assert run(steps(job)[-1], places)[0] == 5


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 6)])
def test_the_gates_job_makes_an_engine_on_trial_ready_or_says_why_not(
    chart: Chart, tmp_path: Path, capsys: pytest.CaptureFixture[str], right: bool, code: int
) -> None:
    policy = {"retention": {"default": 0.5}, "least_questions": 20}
    asking = {"skills": ["count"], "levels": ["easy"], "questions": 20, "waitSeconds": 60}
    manifests = chart(BASE, trial(policy, **asking))
    ask, decide = steps(only(manifests, "Job", "gate"))
    write_unproved(tmp_path / "m-fp8")
    (tmp_path / "policy.yaml").write_text(only(manifests, "ConfigMap", "gate")["data"]["policy.yaml"])
    suite = SightSuite(("count",), ("easy",), 20)
    items = [suite.item(key) for key in suite.keys]
    candidate = Oracle(items) if right else Oracle(items, lambda item: "no idea")
    with serving(Oracle(items).app) as one, serving(candidate.app) as other:
        places = {
            "/models/": f"{tmp_path}/",
            "/etc/fovea/gate": str(tmp_path),
            "http://fovea-engine-base.fovea.svc:8000": one,
            "http://fovea-trial-next.fovea.svc:8000": other,
            "-model=m": "-model=m0",
        }
        asked = run(ask, places)
        assert asked[0] == 0, asked
        decided = run(decide, places)
        assert decided[0] == code, decided
    _, _, *probe = engine_of(manifests, "next")["containers"][0]["readinessProbe"]["exec"]["command"]
    with serving(well) as url:
        healthy = {"http://127.0.0.1:8000": url, "/models/": f"{tmp_path}/"}
        assert healthcheck.main(moved(probe, healthy)) == (0 if right else 1)
    assert ("has passed" if right else "has failed") in capsys.readouterr().out


def write_unproved(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")


async def well(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("")(scope, receive, send)
