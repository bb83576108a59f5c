"""The engines under test: real `fovea engine` processes, plain, with vLLM's example connector, or with ours."""

import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.embedding_cache.pictures import Picture
from loadtest.gateway.processes import free_port

INSIDE = Path(__file__).parent / "inside"
# Else each start would encode the largest picture and video, to see what memory that takes and, with any connector,
# how wide an embedding is.
ONE_SMALL = {"image": {"count": 1, "width": 64, "height": 64}, "video": 0}
# vLLM's own memory holds so many tokens of pictures: one of the large ones, or five of the small.
OWN_TOKENS = 1100
SMALL = ["--skip-mm-profiling", "--limit-mm-per-prompt", json.dumps(ONE_SMALL)]
SMALL += ["--max-num-batched-tokens", str(OWN_TOKENS)]
NAME = "model"
WORD = " a"  # one token of the bundled model's
START_S, STOP_S, ANSWER_S = 400, 60, 400
METRIC = re.compile(r"^(fovea_encoder_cache_lookups_total)\{(.*)\} (\S+)$", re.M)
_asked = itertools.count()


class EngineFailed(Exception):
    """It ended, or did not answer; shows its last lines."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the connector's calls: seconds of each, and how long requests were held back for it."""

    calls: Mapping[str, float]
    waited_s: float


@dataclass(slots=True)
class Engine:
    """`watch`: where its connector's watch writes, if it has one."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    watch: Path
    _read: int = field(default=0)

    def first_token_s(self, picture: Picture) -> float:
        """Seconds until the first token. Every request begins with other words: no prefix of it is known."""
        shown = {"type": "image_url", "image_url": {"url": picture.url}, "uuid": picture.digest}
        return self._first_token_s(shown)

    def first_token_of_text_s(self, tokens: int) -> float:
        """The same for a request without a picture: what no cache can make shorter."""
        return self._first_token_s({"type": "text", "text": WORD * tokens})

    def _first_token_s(self, part: dict[str, Any]) -> float:
        words = ({"type": "text", "text": text} for text in (f"No. {next(_asked)}.", "What is this?"))
        parts = [next(words), part, next(words)]
        body = json.dumps({
            "model": NAME, "stream": True, "max_tokens": 1, "temperature": 0,
            "messages": [{"role": "user", "content": parts}],
        })  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        first = response.readline()
        taken = time.perf_counter() - began
        rest = response.read()
        connection.close()
        if response.status != 200 or not first.startswith(b"data: {") or b"[DONE]" not in rest:
            raise EngineFailed(f"answered {response.status}: {first[:300]!r}\n{self.tail()}")
        return taken

    def lookups(self) -> dict[str, int]:
        """What our connector says that it found, by its metric."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found: dict[str, int] = {}
        for _, labels, value in METRIC.findall(text):
            result = re.search(r'result="(\w+)"', labels)
            if result:
                found[result[1]] = found.get(result[1], 0) + int(float(value))
        return found

    def cost(self) -> Cost:
        """Since it was last asked."""
        calls: dict[str, float] = {}
        waited = 0.0
        for seen in self._new_lines():
            waited += seen["waited"]
            for name, seconds in seen["calls"].items():
                calls[name] = calls.get(name, 0.0) + seconds
        return Cost(calls, waited)

    def encoded(self) -> list[str]:
        """Every picture that this engine's encoder was run for, since it started."""
        if not self.watch.exists():
            return []
        lines = self.watch.read_text().splitlines()
        return [each for line in lines for each in json.loads(line)["encoded"]]

    def _new_lines(self) -> list[dict[str, Any]]:
        if not self.watch.exists():
            return []
        lines = self.watch.read_text().splitlines()
        new, self._read = lines[self._read :], len(lines)
        return [json.loads(line) for line in new]

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def wait(self) -> None:
        deadline = time.monotonic() + START_S
        while "ready at" not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise EngineFailed(f"the engine did not start:\n{self.tail()}")
            time.sleep(0.2)

    def end(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Kind:
    """How engines of one subject are started. `connector`: its class, in `module` of inside/, or none."""

    name: str
    connector: str = ""
    module: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        if not self.connector:
            return []
        config = {
            "ec_connector": self.connector,
            "ec_connector_module_path": self.module,
            "ec_role": "ec_both",
            "ec_connector_extra_config": dict(self.options),
        }
        return ["--ec-transfer-config", json.dumps(config)]


@contextmanager
def start_engines(model: Path, *kinds: Kind) -> Iterator[list[Engine]]:
    """One of each, side by side; all answer."""
    with tempfile.TemporaryDirectory(prefix="fovea-bench-") as folder:
        engines: list[Engine] = []
        try:
            for number, kind in enumerate(kinds):
                engines.append(_start(model, kind, Path(folder) / str(number)))
            for engine in engines:
                engine.wait()
            yield engines
        finally:
            for engine in engines:
                engine.process.send_signal(signal.SIGINT)  # what is still to be written is written
            for engine in engines:
                engine.end()


def _start(model: Path, kind: Kind, stem: Path) -> Engine:
    port, log, watch = free_port(), stem.with_suffix(".log"), stem.with_suffix(".watch")
    command = [sys.executable, "-m", "server", "engine", "--model", str(model), "--name", NAME, "--grace", "0"]
    command += ["--port", str(port), *SMALL, *kind.arguments()]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(INSIDE)])),
        "FOVEA_BENCH_WATCH": str(watch),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environ, start_new_session=True
        )
    return Engine(port, process, log, watch)
