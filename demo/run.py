"""The whole of Fovea in one command: quantize the bundled model, serve it, ask about five pictures."""

import re
import shutil
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from demo.ask import parts
from demo.processes import ProcessFailed, Running, running
from quantize.evaluate.own_questions import OwnQuestions
from quantize.evaluate.score import mark
from quantize.evaluate.suite import Item
from server.together import free_port

HERE = Path(__file__).parent
MODEL = HERE / "model"
PICTURES = HERE / "pictures"
OUT = HERE.parent / "build" / "demo-fp8"
EMBEDDINGS = HERE.parent / "build" / "demo-embeddings"
NAME = "fovea-demo"
START_S = 420
COUNTED_S = 5
SHOWN_METRICS = (
    "fovea_requests_total",
    "fovea_images_total",
    "fovea_image_tokens_sum",
    "fovea_time_to_first_token_seconds_sum",
    "fovea_engine_ready",
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer, as streamed. `embedding`: where the engine had its picture's from."""

    text: str
    first_token_s: float
    prompt_tokens: int
    tokens: int
    embedding: str


def main() -> None:
    try:
        right = demonstrate()
    except ProcessFailed as problem:
        print(f"demo: {problem}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if right else 1)


def demonstrate() -> bool:
    """Whether every answer was right."""
    heading("Quantize: FP8 for the language model, BF16 for the eyes")
    for folder in (OUT, EMBEDDINGS):
        shutil.rmtree(folder, ignore_errors=True)
    quantize = Running("quantize.cli", "run", str(MODEL), str(OUT), "--recipe", "fp8-dynamic")
    if code := quantize.finish(300):
        raise ProcessFailed(f"fovea-quantize ended with {code}:\n{quantize.tail()}")
    for pattern in (r"tensors: \d.*", r"weights: [\d,]+ -> .*"):
        print(quantize.wait_for(pattern, 5).group())
    heading("Serve: real vLLM behind the gateway")
    port = free_port()
    began = time.monotonic()
    arguments = ("--model", str(OUT), "--name", NAME, "--port", str(port), "--embedding-cache", str(EMBEDDINGS))
    with running("server", "up", *arguments) as process:
        process.wait_for(r"fovea   \| ready: ", START_S)
        print(f"ready after {time.monotonic() - began:.0f} s at http://127.0.0.1:{port}/v1")
        heading("Ask: five pictures, one of them twice, through the OpenAI SDK, streaming")
        right = ask_about_pictures(f"http://127.0.0.1:{port}/v1")
        heading("Metrics: five of what Prometheus scrapes")
        show_metrics(f"http://127.0.0.1:{port}/metrics")
        heading("Stop")
    print("engine and gateway have stopped")
    return right


def ask_about_pictures(url: str) -> bool:
    """The last question is the first one again."""
    client = openai.OpenAI(base_url=url, api_key="none")
    bundled = OwnQuestions(PICTURES / "questions.jsonl", PICTURES)
    items = [bundled.item(key) for key in bundled.keys]
    return all([ask_about(client, item, item.skill) for item in items] + [ask_about(client, items[0], "again")])


def ask_about(client: openai.OpenAI, item: Item, label: str) -> bool:
    shown = ask_streaming(client, item)
    right = mark(shown.text, item.truth).right
    verdict = "right" if right else f"WRONG: expected {item.truth.value}"
    print(f"{label:<8} {item.text}")
    print(
        f"{'':<8} -> {shown.text}   ({verdict}; {shown.prompt_tokens} tokens in, {shown.tokens} out, "
        f"first after {shown.first_token_s * 1000:.0f} ms; embedding: {shown.embedding})"
    )
    return right


def ask_streaming(client: openai.OpenAI, item: Item) -> Shown:
    messages: list[Any] = [{"role": "user", "content": parts(item.data_url, item.text)}]
    began, first_token_s, text, usage = time.perf_counter(), 0.0, "", None
    response = client.chat.completions.with_raw_response.create(
        model=NAME,
        messages=messages,
        max_tokens=48,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in response.parse():
        usage = chunk.usage or usage
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if piece and not first_token_s:
            first_token_s = time.perf_counter() - began
        text += piece or ""
    counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Shown(text.strip(), first_token_s, *counts, response.headers.get("x-fovea-image-cache", "not told"))


def show_metrics(url: str) -> None:
    """Once the last answer is counted, which is a moment after its last byte."""
    lines: list[str] = []
    deadline = time.monotonic() + COUNTED_S
    while "fovea_requests_in_flight 0.0" not in lines and time.monotonic() < deadline:
        with urllib.request.urlopen(url) as response:
            lines = response.read().decode().splitlines()
    for name in SHOWN_METRICS:
        for line in lines:
            if re.match(rf"{name}[ {{]", line):
                print(line)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main()
