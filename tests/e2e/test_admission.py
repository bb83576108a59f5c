"""The gate in front of real vLLM: what it lets through is what the engine runs."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.conftest import Stack
from tests.fakes.gateway import gateway, metric
from tests.pictures import chat, image_part, picture, text_part

MOST = 3
BUSY = re.compile(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", re.MULTILINE)
COLOURS = ("red", "blue", "green", "white")


def at_the_engine(stack: Stack) -> int:
    """Requests that vLLM itself says it runs, or makes wait."""
    told = httpx2.get(f"{stack.engine}/metrics", timeout=60).text
    return round(sum(float(count) for count in BUSY.findall(told)))


def test_twenty_at_once_are_all_answered_and_the_engine_never_has_more_than_it_may(fp8: Stack) -> None:
    done, seen = threading.Event(), []

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(at_the_engine(fp8))

    def ask(number: int) -> httpx2.Response:
        shown = image_part(picture(colour=COLOURS[number % 4], size=(64 + 32 * number, 64)))
        asked = text_part(f"What is in picture {number}?")
        # To the last token: were answers short, a busy vLLM could be looked at between them only.
        body = chat(shown, asked, model=fp8.model, max_tokens=48, ignore_eos=True)
        return httpx2.post(url + "/v1/chat/completions", json=body, timeout=120)

    with gateway(fp8.engine, admission={"max_running": MOST}) as url, ThreadPoolExecutor(21) as threads:
        watching = threads.submit(watch)
        answers = list(threads.map(ask, range(20)))
        done.set()
        watching.result()
        held = metric(url, f'fovea_admission_held_tokens{{model="{fp8.model}"}}')
        capacity = metric(url, f'fovea_admission_capacity_tokens{{model="{fp8.model}"}}')
    assert [answer.status_code for answer in answers] == [200] * 20
    assert {answer.json()["usage"]["completion_tokens"] for answer in answers} == {48}
    assert 1 <= max(seen) <= MOST
    assert held == 0
    assert capacity > 4096  # as the engine reports: a context's worth at least
