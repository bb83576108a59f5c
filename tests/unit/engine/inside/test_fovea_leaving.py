import signal

import httpx2
from starlette.responses import PlainTextResponse

from server.engine.inside.fovea_leaving import Leaving


async def test_an_engine_that_leaves_is_not_healthy_and_serves_on() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        leaving = Leaving(PlainTextResponse("served"))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(leaving), base_url="http://engine") as http:
            assert (await http.get("/health")).status_code == 200
            signal.raise_signal(signal.SIGUSR1)
            assert (await http.get("/health")).status_code == 503
            assert (await http.post("/v1/chat/completions")).text == "served"
    finally:
        signal.signal(signal.SIGUSR1, before)
