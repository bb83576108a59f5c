"""A deployment under a little of every load, watched by a real Prometheus: what panels are shown of."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.observe.programs import find
from demo.observe.scene import Scene, scene, start_engine
from demo.observe.values import missing
from deploy.grafana.queries import Shown, read_panels
from loadtest.embedding_cache.store import valkey
from tests.conftest import DEMO_MODEL, Stack
from tests.fakes.nvml import build_stub

# Rates over longer than all of this takes: nothing that was counted is forgotten while the tests look.
PANELS = read_panels(window="30m", span="30m")
SCRAPES_S = 2
LONGEST_S = 300
POLICY = "retention: {default: 0}\nleast_questions: 1\nleast_base_accuracy: 0\n"
QUESTIONS = ("--skills", "attribute,count", "--levels", "easy", "--n", "6")


@pytest.fixture(scope="package")
def observed(fp8: Stack, bf16: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two replicas of the FP8 model, of which one is our own and keeps embeddings, and the BF16 one beside them."""
    for program in ("prometheus", "prometheus-alertmanager"):
        if find(program) is None:
            pytest.skip(f"SKIPPED: no {program}: python3 deploy/environments/set_up.py {program}")
    folder = tmp_path_factory.mktemp("observed")
    checkpoint = Path(shutil.copytree(fp8.checkpoint, folder / "checkpoint"))
    with ExitStack() as stack:
        store = stack.enter_context(valkey())
        # vLLM for CPUs looks for GPUs only where it is told of some.
        libraries = [str(made_gpus(folder)), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        gpus = {"LD_LIBRARY_PATH": ":".join(libraries), "CUDA_VISIBLE_DEVICES": "0"}
        own = start_engine(stack, checkpoint, fp8.model, folder / "embeddings", store, **gpus)
        prove_sight(bf16, fp8, checkpoint, folder)
        own.wait()
        engines = [own.url, fp8.engine, bf16.engine]
        made = scene(folder, engines, fp8.model, preprocessor=DEMO_MODEL, store=store, interval_s=SCRAPES_S)
        shown = stack.enter_context(made)
        show_everything(shown)
        yield shown


def made_gpus(folder: Path) -> Path:
    """NVML as our engine finds it."""
    (folder / "nvml").mkdir()
    return build_stub(folder / "nvml")


def prove_sight(base: Stack, candidate: Stack, checkpoint: Path, folder: Path) -> None:
    """A real report of few questions, and a gate that lets it through."""
    (folder / "policy.yaml").write_text(POLICY)
    ends = ("--base", f"{base.url}/v1", "--candidate", f"{candidate.url}/v1", "--out", folder / "sight")
    gate = (folder / "sight" / "report.json", "--policy", folder / "policy.yaml", "--checkpoint", checkpoint)
    for command in (("evaluate", *ends, *QUESTIONS), ("gate", *gate)):
        done = subprocess.run([sys.executable, "-m", "quantize.cli", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def show_everything(shown: Scene) -> None:
    """Load until every panel has something to show; what still has nothing after a while, its own test tells.

    A second time at least: a rate is nought until a counter has grown."""
    shown.load.round()
    deadline = time.monotonic() + LONGEST_S
    left: list[Shown] = PANELS
    while left and time.monotonic() < deadline:
        shown.load.round()
        wait_for_scrape(shown)
        left = [panel for panel in left if missing(panel, shown.prometheus)]


def wait_for_scrape(shown: Scene) -> None:
    """Of every target, begun after now."""
    began, deadline = time.time(), time.monotonic() + LONGEST_S
    while not shown.prometheus.scraped_since(began, len(shown.targets)):
        assert time.monotonic() < deadline, shown.prometheus.ask("up")
        time.sleep(0.2)
