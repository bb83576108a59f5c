"""What checkov finds in the chart's objects is what we mean to be so, each with its reason, and nothing else."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from helm.template import ROOT
from tests.chart.rendering import NEWEST, rendered_text

pytestmark = pytest.mark.usefixtures("helms")
CHECKOV = ROOT / ".venv" / "checkov" / "bin" / "checkov"
CASES = ("own-everything", "own-hpa", "canary", "cpu-demo")
# What is meant to be so: the check, which objects, and why.
MEANT = {
    "CKV_K8S_11": (
        ".*",
        "no CPU limits: the kernel would stop a gateway's streams, and an engine's GPU would wait",
    ),
    "CKV_K8S_15": (".*", "pullPolicy IfNotPresent: tags are versions, and a registry that is away ends no pod"),
    "CKV_K8S_43": (
        ".*",
        "digests are whose images these are to say: image.digest (test_a_digest_is_what_is_pulled)",
    ),
    "CKV_K8S_35": (
        r"Deployment\.fovea\.fovea-(gateway|engine-main)|Job\..*-(download|gate|quantize)-.*|Pod\.fovea\.fovea-test-ask",
        "tokens and URLs that libraries read from the environment alone; API keys come as files",
    ),
    "CKV_K8S_40": (r".*", "security.uid null, where the cluster assigns a high one (OpenShift)"),
    "CKV_K8S_8": (r"Pod\.fovea\.fovea-test-.*", "the pod of `helm test` asks once and ends"),
    "CKV_K8S_9": (r"Pod\.fovea\.fovea-test-.*", "the pod of `helm test` asks once and ends"),
}
PLANTED = """\
apiVersion: v1
kind: Pod
metadata: {name: planted, namespace: fovea}
spec:
  hostNetwork: true
  containers: [{name: planted, image: "fovea-gateway:latest", securityContext: {privileged: true}}]
"""
# Host network, privileged, a tag that moves, a root filesystem that is written to.
PLANTED_FAILS = {"CKV_K8S_19", "CKV_K8S_16", "CKV_K8S_14", "CKV_K8S_22"}

Finding = tuple[str, str, str]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> set[Finding]:
    """Check, file, object; of every case and of a pod that is wrong in all ways."""
    if not CHECKOV.exists():
        pytest.skip("SKIPPED: no checkov: make setup")
    folder = tmp_path_factory.mktemp("checkov")
    for case in CASES:
        (folder / f"{case}.yaml").write_text(rendered_text(NEWEST, case))
    (folder / "planted.yaml").write_text(PLANTED)
    told = [
        "--framework",
        "kubernetes",
        "--output",
        "json",
        "--quiet",
        "--compact",
        "--skip-download",
        "--soft-fail",
    ]
    # Its own files stay out of the home.
    environ = os.environ | {"HOME": str(tmp_path_factory.mktemp("home"))}
    done = subprocess.run([CHECKOV, "--directory", folder, *told], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] > 50
    failed = report["results"]["failed_checks"]
    return {(each["check_id"], Path(each["file_path"]).stem, each["resource"]) for each in failed}


def test_a_pod_that_is_wrong_is_found(findings: set[Finding]) -> None:
    assert {check for check, file, _ in findings if file == "planted"} >= PLANTED_FAILS


def test_nothing_is_found_that_is_not_meant(findings: set[Finding]) -> None:
    unmeant = {
        (check, file, name)
        for check, file, name in findings
        if file != "planted" and not re.fullmatch(MEANT.get(check, ("", ""))[0], name)
    }
    assert unmeant == set()


def test_what_is_meant_to_be_so_is(findings: set[Finding]) -> None:
    assert {check for check, file, _ in findings if file != "planted"} == MEANT.keys()
    # Where the chart says the user itself, it is a high one.
    assert {file for check, file, _ in findings if check == "CKV_K8S_40" and file != "planted"} == {"own-hpa"}
