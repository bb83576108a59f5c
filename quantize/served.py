"""Both checkpoints on real vLLM, one after the other: how likely each finds the same tokens."""

import json
import math
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from quantize.errors import ToolFailed

NAME = "checkpoint"
START_S, ANSWER_S, STOP_S = 1800, 600, 90
MOST_LINES = 5000  # of vLLM's log
MOST_DIFFERENCE = 1.0  # nats a token
SEED = 11
ERROR = re.compile(r"\b(?P<said>[A-Z]\w*(Error|Exception)\b: .+)$")
READY = re.compile(r"^fovea engine: ready at ")
TEXTS = (
    ("Why is the sky blue?", "Because air scatters blue light more than red light."),
    ("Write a line of Python that prints the numbers from 1 to 3.", "for i in range(1, 4): print(i)"),
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question, a picture for it as a data URL (None: text alone), and an answer that is not the model's."""

    question: str
    picture: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class Token:
    """What a model thought of one token: the log-probability of that token, and which it would have taken."""

    logprob: float
    best: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Over all tokens: the mean and the largest difference of log-probabilities in nats, how many are the same."""

    prompts: int
    tokens: int
    mean: float
    largest: float
    same_best: float

    @property
    def violations(self) -> list[str]:
        if not self.mean <= MOST_DIFFERENCE:
            return [
                f"vLLM finds the same tokens {self.mean:.2f} nats more or less likely than from the source "
                f"(at most {MOST_DIFFERENCE})"
            ]
        return []

    def describe(self) -> str:
        return (
            f"served by vLLM: {self.tokens} tokens of {self.prompts} prompts are {self.mean:.3f} nats more or less "
            f"likely than from the source (at most {self.largest:.2f}); {self.same_best:.1%} would be chosen alike"
        )


def compare_served(source: Path, candidate: Path, environ: Mapping[str, str]) -> Compared:
    """Raises ToolFailed where vLLM does not load one of them or answers with an error."""
    prompts = make_prompts()
    before, after = ([*ask(folder, prompts, environ)] for folder in (source, candidate))
    if [len(each) for each in before] != [len(each) for each in after]:
        raise ToolFailed(f"vLLM cuts the same prompts into other tokens for {candidate} than for {source}")
    pairs = [pair for one, other in zip(before, after, strict=True) for pair in zip(one, other, strict=True)]
    differences = [abs(a.logprob - b.logprob) for a, b in pairs]
    if not all(math.isfinite(each) for each in differences):
        return Compared(len(prompts), len(pairs), math.inf, math.inf, 0.0)
    alike = sum(a.best == b.best for a, b in pairs)
    return Compared(len(prompts), len(pairs), sum(differences) / len(pairs), max(differences), alike / len(pairs))


def make_prompts() -> list[Prompt]:
    """Two texts, and a drawn picture of every skill with its true answer."""
    from quantize.evaluate.questions import SKILLS  # NumPy
    from quantize.evaluate.suite import item

    drawn = [item(skill, "easy", 0, SEED) for skill in SKILLS]
    return [Prompt(question, None, answer) for question, answer in TEXTS] + [
        Prompt(each.text, each.data_url, each.truth.value) for each in drawn
    ]


def ask(folder: Path, prompts: list[Prompt], environ: Mapping[str, str]) -> Iterator[list[Token]]:
    with served(folder, environ) as url:
        for prompt in tqdm(prompts, desc=folder.name, unit="prompt", leave=False):
            yield read_tokens(url, prompt)


@contextmanager
def served(folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """`fovea engine` with this checkpoint, on a port that nobody else has. Raises ToolFailed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "server", "engine", "--model", str(folder), "--name", NAME]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environ, "PYTHONUNBUFFERED": "1"},
    )
    said: deque[str] = deque(maxlen=MOST_LINES)
    ready = threading.Event()
    reader = threading.Thread(target=listen, args=(process, said, ready), daemon=True)
    reader.start()
    try:
        ready.wait(START_S)
        if not any(READY.search(line) for line in said):
            raise ToolFailed(f"vLLM does not serve {folder}: {find_reason(said)}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(5)


def find_reason(said: Sequence[str]) -> str:
    """The line that says most: the first error that vLLM logs is the cause of the others."""
    named = [(line, match["said"]) for line in said if (match := ERROR.search(line))]
    logged = [what for line, what in named if " ERROR " in line]
    if logged or named:
        return logged[0] if logged else named[-1][1]
    return next((line for line in reversed(said) if line.strip()), "it said nothing")


def listen(process: "subprocess.Popen[str]", said: deque[str], ready: threading.Event) -> None:
    """Drain the output; `ready` once it says so or ends."""
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.rstrip("\n"))
        if READY.search(line):
            ready.set()
    ready.set()


def read_tokens(url: str, prompt: Prompt) -> list[Token]:
    """What the model thinks of question and answer, without the picture's tokens. Raises ToolFailed."""
    content: list[dict[str, Any]] = [{"type": "text", "text": prompt.question}]
    if prompt.picture is not None:
        content.insert(0, {"type": "image_url", "image_url": {"url": prompt.picture}})
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": prompt.answer}]
    asked = {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}
    answer = post(f"{url}/v1/chat/completions", {**asked, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1})
    text = post(f"{url}/tokenize", {"prompt": prompt.question + prompt.answer, "add_special_tokens": False})
    return parse_tokens(answer["prompt_logprobs"], text["count"])


def parse_tokens(entries: list[dict[str, dict[str, Any]] | None], count: int) -> list[Token]:
    """The last `count` of vLLM's `prompt_logprobs`: of each token itself (it comes first) and of the likeliest."""
    tokens = []
    for entry in entries[-count:]:
        if entry:
            own = next(iter(entry.values()))
            best = min(entry, key=lambda token: entry[token]["rank"])
            tokens.append(Token(float(own["logprob"]), best))
    return tokens


def post(url: str, content: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"model": NAME, **content}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as problem:
        raise ToolFailed(f"vLLM answers {problem.code}: {problem.read(2000).decode(errors='replace')}") from problem
    except (OSError, ValueError) as problem:
        raise ToolFailed(f"vLLM does not answer: {problem}") from problem
    assert isinstance(answer, dict)
    return answer
