"""The Jobs that fill the model store, and what engines wait for."""

import re
from typing import Any

import pytest

from helm.template import HELMS
from tests.chart.release import BASE, SOURCES, Chart, engine_of, of_kind, only, pool, steps, trial
from tests.chart.rendering import rendered

pytestmark = pytest.mark.usefixtures("helms")


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
    assert spec["initContainers"][0]["args"][-1] == "--require=trial"
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


def test_both_helms_make_the_same_jobs() -> None:
    names = [[job["metadata"]["name"] for job in of_kind(rendered(helm, "canary"), "Job")] for helm in HELMS]
    assert names[0] == names[1] != []
