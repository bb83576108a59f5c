"""What a server may do to the load test: nothing but be noted as failed."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from loadtest.driving.caller import Target
from loadtest.driving.gallery import drawn_gallery
from loadtest.driving.pages import Pages
from loadtest.driving.run import Wanted, drive_run
from loadtest.driving.served import TargetError, find_model
from loadtest.records import Run, read_run
from loadtest.reporting.making import make_report
from loadtest.reporting.page import make_page
from loadtest.scenario.document import Scenario
from tests.contract.test_loadtest_driving import SMALL, Silent

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
DONE = b"data: [DONE]\n\n"


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """A server that does what `answer` does with each request's head and body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0"
            )
            await answer(head + await reader.readexactly(int(length)), writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def saying(text: bytes) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text)

    return answer


async def ask_two(
    url: str, folder: Path, timeout_s: float = 60, metrics: tuple[str, ...] = (), key: str = "the key"
) -> Run:
    scenario = Scenario.model_validate(
        {"name": "test", "arrival": {"kind": "closed", "concurrency": 1}, "pictures": SMALL, "requests": 2}
    )
    gallery = drawn_gallery(scenario.pictures)
    target = Target(f"{url}/v1", "demo", {"default": key}, timeout_s)
    await drive_run(Wanted(scenario, "text", 1, target, Pages(metrics), folder), gallery, Silent())
    gallery.close()
    run = read_run(folder)
    make_page(make_report(run))
    return run


def codes(run: Run) -> list[str]:
    return [request.code for request in run.requests]


async def test_nonsense_in_usage_and_headers_spoils_neither_the_run_nor_its_records(tmp_path: Path) -> None:
    usage = orjson.dumps({"choices": 5, "error": None, "usage": {"prompt_tokens": -3, "completion_tokens": "many"}})
    odd = b"x-fovea-engine: \xff\xfe\x1b[31m" + b"e" * 500 + b"\r\nx-fovea-image-cache: <script>\r\n\r\n"
    words = b'data: {"choices": [{"delta": {"content": "<b>"}}]}\n\n'
    async with answering(saying(OK + odd + words + b"data: " + usage + b"\n\n" + DONE)) as url:
        run = await ask_two(url, tmp_path)
    assert codes(run) == [""] * 2
    for request in run.requests:
        assert (request.prompt_tokens, request.output_tokens, len(request.engine)) == (0, 0, 64)
        assert request.engine.isascii()
        assert request.engine.isprintable()
    assert "<script>" not in make_page(make_report(run))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (OK + b"\r\ndata: \xff\xfe\n\n" + DONE, "protocol"),
        (OK + b"\r\n" + b"x" * (6 * 1024**2), "protocol"),
        (OK + b"content-length: 9999\r\n\r\n" + DONE, "connection"),
        (OK + b"x-long: " + b"y" * 100_000 + b"\r\n\r\n" + DONE, "connection"),
        (OK + b"\r\n", "cut"),
        (b"\x00\x01 nonsense", "connection"),
        (OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(b"data: {}\n\n" * 10_000_000, 1), "cut"),
    ],
)
async def test_an_answer_that_is_none_is_noted_as_failed(text: bytes, code: str, tmp_path: Path) -> None:
    async with answering(saying(text)) as url:
        assert codes(await ask_two(url, tmp_path)) == [code] * 2


async def test_a_stream_that_never_ends_is_left_after_the_time_for_a_request(tmp_path: Path) -> None:
    async def drip(asked: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        while asked.startswith(b"POST"):
            writer.write(b": nothing yet\n\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with answering(drip) as url:
        run = await ask_two(url, tmp_path, timeout_s=1)
    assert codes(run) == ["timeout"] * 2
    assert all(request.e2e_s >= 1 for request in run.requests)


async def test_a_redirect_is_a_failure_and_takes_neither_key_nor_picture_elsewhere(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def note(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        writer.write(OK + b"\r\n" + DONE)

    async with answering(note) as elsewhere:
        there = f"HTTP/1.1 307 Elsewhere\r\nlocation: {elsewhere}/v1/x\r\nconnection: close\r\n\r\n".encode()
        async with answering(saying(there)) as url:
            run = await ask_two(url, tmp_path, metrics=(f"{url}/metrics",))
            with pytest.raises(TargetError, match="307"):
                await find_model(f"{url}/v1", "the key")
    assert codes(run) == ["307"] * 2
    assert asked == []


async def test_an_error_that_comes_in_pieces_is_told_by_its_code(tmp_path: Path) -> None:
    async def refuse(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 429 No\r\nconnection: close\r\n\r\n{"error": {"code": ')
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b'"over\\u001b"}}')

    async with answering(refuse) as url:
        assert codes(await ask_two(url, tmp_path)) == ["over?"] * 2


async def test_a_list_of_models_that_comes_in_pieces_is_read_whole() -> None:
    async def slowly(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"data": [')
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b'{"id": "one"}]}')

    async with answering(slowly) as url:
        assert await find_model(f"{url}/v1", "") == "one"


async def test_nothing_secret_of_an_address_is_written_down(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfovea_requests_waiting 1\n"
    async with answering(saying(page)) as url:
        address = url.replace("://", "://user:hidden@")
        pages = (f"{address}/metrics?token=hidden", f"{address}/metrics?token=hidden2")
        run = await ask_two(address, tmp_path, metrics=pages, key="")
    assert {sample.source for sample in run.samples} == {f"{url}/metrics", f"{url}/metrics (2)"}
    assert run.info.url == f"{url}/v1"
    for path in tmp_path.iterdir():
        assert b"hidden" not in path.read_bytes()


@pytest.mark.parametrize("value", ["5e-324", "1e308", "-1e308", "NaN"])
async def test_a_metrics_page_of_odd_values_and_labels_still_becomes_a_report(value: str, tmp_path: Path) -> None:
    labels = '{engine="</title><script>alert(1)</script>"}'
    names = ("fovea_requests_waiting", "vllm:num_preemptions_total", "fovea_images_by_cache_total")
    page = "".join(f"{name}{labels} {value}\n" for name in names)
    async with answering(saying(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + page.encode())) as url:
        run = await ask_two(url, tmp_path, metrics=(f"{url}/metrics",))
    assert "<script>" not in make_page(make_report(run))
