"""The Jobs that fill the model store: our programs understand what they are told, and may be told it twice."""

import copy
import json
import re
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

from helm.template import HELMS, ROOT, Manifest, objects, render
from quantize import verify
from quantize.cli import app as quantize
from quantize.evaluate.suite import SightSuite
from server import healthcheck
from server.cli import app as fovea
from tests.chart.rendering import NEWEST, pod_specs, program, rendered
from tests.conftest import DEMO_MODEL
from tests.fakes.oracle import Oracle
from tests.fakes.serve import serving

pytestmark = pytest.mark.usefixtures("helms")
# By what a container begins.
PROGRAMS = {"fovea-quantize": quantize, "fovea": fovea}
BASE = {"name": "base", "preset": "h100", "model": {"name": "m", "path": "m"}, "servePolicy": "none"}
SOURCES: dict[str, dict[str, Any]] = {
    "hub": {"repository": "Qwen/Qwen3.5-9B", "revision": "v1", "tokenSecret": {"name": "hub-token", "key": "t"}},
    "oci": {"reference": "registry.example.com/models/qwen:1", "pullSecret": "login"},
    "s3": {"url": "s3://bucket/a/b", "endpoint": "https://s3.example.com", "region": "eu-1", "secret": "bucket"},
    "pvc": {"claimName": "mine", "path": "a/b"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("values")


class Chart:
    """Renders values that are made here, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[str, list[Manifest]]()

    def __call__(self, *pools: dict[str, Any], options: tuple[str, ...] = (), **more: Any) -> list[Manifest]:
        values = {"gateway": {"allowAnonymous": True}, "pools": list(pools), **more}
        key = json.dumps([values, options])
        if key not in self._known:
            path = self._folder / f"{len(self._known)}.yaml"
            path.write_text(yaml.safe_dump(values))
            self._known[key] = objects(render(program(NEWEST), "--values", str(path), *options))
        return self._known[key]


@pytest.fixture(scope="module")
def chart(folder: Path) -> Chart:
    return Chart(folder)


def pool(source: dict[str, Any], quantized: bool = False, **more: Any) -> dict[str, Any]:
    return {**BASE, "name": "main", "source": source, "quantize": {"enabled": quantized}, **more}


def trial(gate: dict[str, Any] | None = None, **evaluate: Any) -> dict[str, Any]:
    """A candidate that the release's own gate decides about."""
    evaluation = {"enabled": True, "base": "base", **evaluate}
    quantized = {"enabled": True, "evaluate": evaluation, "gate": {"policy": gate or {}}}
    own = {"name": "next", "model": {"name": "m", "path": "m-fp8"}, "servePolicy": "requireGated"}
    return {**BASE, **own, "source": {"pool": "base"}, "quantize": quantized}


def of_kind(manifests: Any, kind: str, component: str = "") -> list[Manifest]:
    found = [each for each in manifests if each["kind"] == kind]
    label = "app.kubernetes.io/component"
    return [each for each in found if not component or each["metadata"]["labels"].get(label) == component]


def only(manifests: Any, kind: str, component: str = "") -> Manifest:
    (found,) = of_kind(manifests, kind, component)
    return found


def engine_of(manifests: Any, name: str) -> Manifest:
    (found,) = [
        each["spec"]["template"]["spec"]
        for each in of_kind(manifests, "Deployment", "engine")
        if each["metadata"]["labels"]["fovea.dev/pool"] == name
    ]
    return dict(found)


def steps(job: Manifest) -> list[Manifest]:
    """Containers in the order in which they run."""
    (spec,) = [spec for _, spec in pod_specs(job)]
    return [*spec.get("initContainers", []), *spec["containers"]]


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


def preset_pools(case: str) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "helm" / "fovea" / "presets" / f"{case}.yaml").read_text())
    return list(loaded["pools"])


@pytest.mark.parametrize("kind", SOURCES)
def test_what_has_to_be_fetched_is_fetched_by_a_job_with_secrets_by_reference(chart: Chart, kind: str) -> None:
    jobs = of_kind(chart(pool({kind: SOURCES[kind]})), "Job")
    if kind == "pvc":
        assert jobs == []
        return
    (job,) = jobs
    (container,) = steps(job)
    url = {"hub": "hf://Qwen/Qwen3.5-9B@v1", "oci": f"oci://{SOURCES['oci']['reference']}", "s3": "s3://bucket/a/b"}
    assert container["args"] == ["pull", url[kind], "/models/m"]
    assert parse(container) == "pull"
    referred = {
        each["name"]: (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
        for each in container["env"]
        if "valueFrom" in each
    }
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    assert referred == {
        "hub": {"HF_TOKEN": ("hub-token", "t")},
        "oci": {},
        "s3": {key: ("bucket", key) for key in keys},
    }[kind]  # fmt: skip
    if kind == "oci":
        secrets = [each["secret"] for each in job["spec"]["template"]["spec"]["volumes"] if "secret" in each]
        assert secrets == [{"secretName": "login", "items": [{"key": ".dockerconfigjson", "path": "config.json"}]}]
        assert {"name": "registry", "mountPath": "/tmp/.docker", "readOnly": True} in container["volumeMounts"]


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_quantized_lies_beside_what_is_served(chart: Chart, kind: str) -> None:
    job = only(chart(pool({kind: SOURCES[kind]}, quantized=True)), "Job", "quantize")
    folder = "/source/a/b" if kind == "pvc" else "/models/m-source"
    assert [each["args"] for each in steps(job)] == [
        ["await-checkpoint", folder, "--require=none"],
        ["plan", folder, "--recipe=fp8-dynamic"],
        ["run", folder, "/models/m", "--recipe=fp8-dynamic", "--keep"],
        ["verify", folder, "/models/m", "--recipe=fp8-dynamic"],
    ]
    if kind == "pvc":
        mounts = [mount for each in steps(job) for mount in each["volumeMounts"] if mount["name"] == "source"]
        assert mounts == [{"name": "source", "mountPath": "/source", "readOnly": True}] * 4


def test_pools_that_share_a_folder_share_its_download(chart: Chart) -> None:
    hub = {"hub": SOURCES["hub"]}
    manifests = chart(pool(hub), pool(hub, name="more"))
    assert len(of_kind(manifests, "Job", "download")) == 1


def test_a_folder_that_is_in_the_store_already_needs_no_job(chart: Chart) -> None:
    assert of_kind(chart(pool({})), "Job") == []


def test_a_job_has_another_name_when_anything_of_it_changes_and_only_then(chart: Chart) -> None:
    def name(**more: Any) -> str:
        (job,) = of_kind(chart(pool({"hub": SOURCES["hub"]}), **more), "Job")
        return str(job["metadata"]["name"])

    assert re.fullmatch(r"fovea-download-main-[0-9a-f]{8}", name())
    assert name(servePolicy="none", gateway={"allowAnonymous": True, "replicas": 3}) == name()
    others = [
        {"image": {"tag": "2"}},
        {"quantize": {"backoffLimit": 9}},
        {"quantize": {"nodeSelector": {"a": "b"}}},
    ]
    assert len({name(), *(name(**more) for more in others)}) == 1 + len(others)


def test_names_of_the_longest_fit_what_kubernetes_takes(chart: Chart) -> None:
    longest = pool({"hub": SOURCES["hub"]}, quantized=True, name="p" * 20)
    jobs = of_kind(chart(longest, fullnameOverride="f" * 63), "Job")
    assert len(jobs) == 2
    assert max(len(job["metadata"]["name"]) for job in jobs) <= 63


def test_another_policy_is_another_gate_that_finds_the_answers(chart: Chart) -> None:
    jobs = [
        only(chart(BASE, trial(gate)), "Job", "gate")
        for gate in ({"retention": {"default": 0.9}}, {"retention": {"default": 0.8}})
    ]
    assert jobs[0]["metadata"]["name"] != jobs[1]["metadata"]["name"]
    assert steps(jobs[0])[0]["args"] == steps(jobs[1])[0]["args"]
    other = only(chart(BASE, trial({"retention": {"default": 0.9}}, questions=7)), "Job", "gate")
    outs = {steps(job)[0]["args"][-1] for job in (jobs[0], other)}
    assert len(outs) == 2
    assert all(out.startswith("--out=/models/.evaluations/m-fp8/") for out in outs)


def test_what_trying_again_cannot_mend_is_not_tried_again_where_kubernetes_knows_how(chart: Chart) -> None:
    hub = pool({"hub": SOURCES["hub"]})
    for version, known in (("1.33.0", True), ("1.25.0", False)):
        job = only(chart(hub, options=("--kube-version", version)), "Job")
        assert ("podFailurePolicy" in job["spec"]) is known
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany"])
def test_on_a_store_of_one_nodes_jobs_run_where_the_engines_are(chart: Chart, mode: str) -> None:
    taint = {"key": "gpu", "operator": "Exists"}
    manifests = chart(
        pool({"hub": SOURCES["hub"]}, quantized=True, tolerations=[taint]), modelStore={"accessModes": [mode]}
    )
    engine = only(manifests, "Deployment", "engine")
    for job in of_kind(manifests, "Job"):
        spec = job["spec"]["template"]["spec"]
        if mode == "ReadWriteMany":
            assert "affinity" not in spec
            assert "tolerations" not in spec
            continue
        (term,) = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        labels = engine["spec"]["template"]["metadata"]["labels"]
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()
        assert taint in spec["tolerations"]


def test_a_pool_that_has_no_engines_yet_holds_no_job_back(chart: Chart) -> None:
    manifests = chart(pool({"hub": SOURCES["hub"]}, replicas=0))
    assert "affinity" not in only(manifests, "Job")["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("policy", "required"), [("requireVerified", "verified"), ("requireGated", "gated"), ("none", "none")]
)
def test_engines_wait_for_what_the_policy_asks(chart: Chart, policy: str, required: str) -> None:
    for own, release in ((policy, "none"), ("", policy)):
        spec = engine_of(chart(pool({}, servePolicy=own), servePolicy=release), "main")
        assert spec["initContainers"][0]["args"] == ["await-checkpoint", "/models/m", f"--require={required}"]
        assert "httpGet" in spec["containers"][0]["readinessProbe"]


def test_an_engine_on_trial_runs_is_not_ready_and_is_reached_by_the_gate_alone(chart: Chart) -> None:
    manifests = chart(BASE, trial())
    spec = engine_of(manifests, "next")
    assert spec["initContainers"][0]["args"][-1] == "--require=verified"
    assert "--gated=/models/m-fp8" in spec["containers"][0]["readinessProbe"]["exec"]["command"]
    assert "httpGet" in spec["containers"][0]["livenessProbe"]
    (service,) = [each for each in of_kind(manifests, "Service") if "publishNotReadyAddresses" in each["spec"]]
    asked = steps(only(manifests, "Job", "gate"))[0]["args"]
    assert f"--candidate=http://{service['metadata']['name']}.fovea.svc:8000/v1" in asked
    assert "--base=http://fovea-engine-base.fovea.svc:8000/v1" in asked
    config = only(manifests, "ConfigMap", "gateway")["data"]["fovea.yaml"]
    assert service["metadata"]["name"] not in config
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "NetworkPolicy")}
    (rule,) = policies["fovea-gated"]["ingress"]
    gate = only(manifests, "Job", "gate")["spec"]["template"]["metadata"]["labels"]
    assert rule["from"][0]["podSelector"]["matchLabels"].items() <= gate.items()
    assert policies["fovea-gate"]["podSelector"]["matchLabels"].items() <= gate.items()


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


def test_both_helms_make_the_same_jobs() -> None:
    names = [[job["metadata"]["name"] for job in of_kind(rendered(helm, "canary"), "Job")] for helm in HELMS]
    assert names[0] == names[1] != []
