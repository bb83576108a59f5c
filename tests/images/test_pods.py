"""The pods of the rendered chart, preset cpu-demo: the quantize Job, then the gateway in front of an engine.

In every run of the tests the engine is the stand-in; with FOVEA_IMAGES_DEMO=1 (`make images-demo`) its image is
built, too, and the bundled model answers about the demonstration's pictures.
"""

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import demo.run
from demo.ask import parts
from helm.template import PRESETS, Manifest, find_helm, objects, render
from quantize.evaluate.own_questions import OwnQuestions
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving
from tests.images import containers
from tests.images.conftest import built
from tests.images.containers import inspect, podman
from tests.images.pods import address_of, containers_of, of_kind, play, pod_of

DEMO = os.environ.get("FOVEA_IMAGES_DEMO", "") == "1"
START_S = 600
ENGINE = "fovea-engine-demo.fovea.svc"
MODEL = "fovea-demo"
KEEPER, WAIT = "fovea-network", "import time; time.sleep(7200)"


@dataclass(frozen=True)
class Cluster:
    """What podman has in place of one."""

    objects: list[Manifest]
    network: str
    gateway: str
    folder: Path

    def play(self, *manifests: Manifest) -> None:
        play(manifests, self.network, self.folder)


@pytest.fixture(scope="module")
def cluster(gateway: str, quantizer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A network of pods, and the model store with what the Job has made."""
    helm = find_helm("helm-v4")
    if helm is None:
        pytest.skip("SKIPPED: no Helm: make setup, or install Helm 4")
    rendered = objects(render(helm, "--values", str(PRESETS / "cpu-demo.yaml"), "--set", "image.tag=test"))
    network = f"fovea-{os.getpid()}"
    podman("network", "create", network)
    # As long as nobody is in it, a network has no address on this machine.
    podman("run", "--detach", "--name", KEEPER, "--network", network, "--entrypoint", "python", gateway, "-c", WAIT)
    try:
        address = inspect("network", network)["subnets"][0]["gateway"]
        yield Cluster(rendered, network, address, tmp_path_factory.mktemp("pods"))
    finally:
        containers.remove_pods()
        podman("rm", "--force", "--time", "0", KEEPER)
        podman("network", "rm", "--force", network)


@pytest.fixture(scope="module")
def quantized_in_a_pod(cluster: Cluster) -> str:
    """Name of the Job's pod, which has ended."""
    store = of_kind(cluster.objects, "PersistentVolumeClaim", "models")
    job = pod_of(of_kind(cluster.objects, "Job", "quantize"), {})
    cluster.play(store, job)
    name = str(job["metadata"]["name"])
    podman("wait", *containers_of(name))
    return name


@pytest.fixture(scope="module")
def engine(cluster: Cluster, quantized_in_a_pod: str) -> Iterator[str]:
    """The address that the engines' Service would have."""
    if not DEMO:
        with serving(FakeEngine(model=MODEL).app, (cluster.gateway, 8000)):
            yield cluster.gateway
        return
    built("engine-cpu")
    memory = Path("/dev/shm") / f"fovea-{os.getpid()}"
    pod = pod_of(of_kind(cluster.objects, "Deployment", "engine"), {}, memory)
    cluster.play(pod)
    yield address_of(pod["metadata"]["name"], cluster.network)
    shutil.rmtree(memory, ignore_errors=True)


@pytest.fixture(scope="module")
def answering(cluster: Cluster, engine: str) -> str:
    """The URL of the gateway's pod."""
    pod = pod_of(of_kind(cluster.objects, "Deployment", "gateway"), {ENGINE: engine})
    cluster.play(of_kind(cluster.objects, "ConfigMap", "gateway"), pod)
    name = pod["metadata"]["name"]
    url = f"http://{address_of(name, cluster.network)}:8080"
    deadline = time.monotonic() + START_S
    while not ready(f"{url}/health/ready"):
        assert time.monotonic() < deadline, logs(name)
        assert inspect("container", f"{name}-gateway")["State"]["Status"] in ("created", "running"), logs(name)
        time.sleep(0.5)
    return url


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def logs(pod: str) -> str:
    return "\n".join(podman("logs", "--tail", "30", name, fails=True).stderr for name in containers_of(pod))


def test_the_job_quantizes_and_proves_the_bundled_model(quantized_in_a_pod: str) -> None:
    # podman removes init containers that have done their work; `verify` would fail without theirs.
    codes = {name: inspect("container", name)["State"]["ExitCode"] for name in containers_of(quantized_in_a_pod)}
    assert codes == {f"{quantized_in_a_pod}-verify": 0}, logs(quantized_in_a_pod)


def test_the_gateways_pod_answers_about_a_picture(answering: str) -> None:
    if DEMO:
        assert demo.run.ask_about_pictures(f"{answering}/v1")
        return
    bundled = OwnQuestions(demo.run.PICTURES / "questions.jsonl", demo.run.PICTURES)
    item = bundled.item(bundled.keys[0])
    messages = [{"role": "user", "content": parts(item.data_url, item.text)}]
    body = {"model": MODEL, "messages": messages, "max_tokens": 8}
    request = urllib.request.Request(
        f"{answering}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        assert json.load(response)["choices"][0]["message"]["content"]


def test_what_the_pods_ask_of_the_runtime_is_what_they_get(answering: str, quantized_in_a_pod: str) -> None:
    for name in (*containers_of("fovea-gateway"), *containers_of(quantized_in_a_pod)):
        state = inspect("container", name)
        assert state["HostConfig"]["ReadonlyRootfs"], name
        assert state["EffectiveCaps"] in (None, []), name
        assert "no-new-privileges" in state["HostConfig"]["SecurityOpt"], name
        assert state["Config"]["User"].startswith("10001"), name
