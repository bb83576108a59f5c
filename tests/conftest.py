"""The expensive things, made once a test run: an FP8 checkpoint and real vLLM behind the gateway."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from demo.processes import Running, running
from server.together import free_port
from tests.fakes.otlp import OtlpReceiver
from tests.fakes.serve import serving

# Machines that are slow, or pause, fail nothing.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

pytest_plugins = ["tests.valkey"]

ROOT = Path(__file__).parent.parent
DEMO_MODEL = ROOT / "demo" / "model"
# A cold start of vLLM takes half a minute alone on two cores, several with everything else running.
ENGINE_START_S = 420


@dataclass(frozen=True)
class Stack:
    """`fovea up` and where it listens."""

    process: Running
    url: str
    model: str
    checkpoint: Path

    @property
    def engine(self) -> str:
        """Where vLLM itself listens. The gateway may find out first that it answers."""
        return self.process.wait_for(r"ready at (http://\S+) after", 60).group(1)


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo model in FP8, and what the command printed."""
    out = tmp_path_factory.mktemp("checkpoints") / "demo-fp8"
    process = Running("quantize.cli", "run", str(DEMO_MODEL), str(out))
    assert process.finish(300) == 0, process.tail()
    return out, process.output


@dataclass(frozen=True)
class Traces:
    """Who is sent the spans of `bf16`, by gateway and engine, and where it listens."""

    receiver: OtlpReceiver
    url: str


@pytest.fixture(scope="session")
def traces() -> Iterator[Traces]:
    receiver = OtlpReceiver()
    with serving(receiver.app) as url:
        yield Traces(receiver, url)


@pytest.fixture(scope="session")
def stacks(quantized: tuple[Path, str], traces: Traces) -> Iterator[dict[str, Stack]]:
    """Both checkpoints on real vLLM, started side by side: `fp8` and `bf16`, of which the second is traced."""
    traced = {"FOVEA_TRACES__ENDPOINT": traces.url, "FOVEA_TRACES__RATIO": "1"}
    with ExitStack() as stack:
        started = {}
        for name, checkpoint in (("fp8", quantized[0]), ("bf16", DEMO_MODEL)):
            port = free_port()
            arguments = ("--model", str(checkpoint), "--name", f"demo-{name}", "--port", str(port))
            environ = {"FOVEA_HTTP__MAX_BODY": "4MiB", **(traced if name == "bf16" else {})}
            process = stack.enter_context(running("server", "up", *arguments, **environ))
            started[name] = Stack(process, f"http://127.0.0.1:{port}", f"demo-{name}", checkpoint)
        for each in started.values():
            each.process.wait_for(r"fovea   \| ready: ", ENGINE_START_S)
        yield started


@pytest.fixture(scope="session")
def fp8(stacks: dict[str, Stack]) -> Stack:
    return stacks["fp8"]


@pytest.fixture(scope="session")
def bf16(stacks: dict[str, Stack]) -> Stack:
    return stacks["bf16"]
