"""A gateway in this process, in front of given engines. Whatever it answers must be as published."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from server.app import make_app, make_server_options
from server.images.addresses import Network
from server.settings import Settings
from tests.fakes.recorded import Recorded
from tests.fakes.serve import serving
from tests.published import violations


@contextmanager
def gateway(
    *engines: str, wait: bool = True, network: Network | None = None, **sections: dict[str, Any]
) -> Iterator[str]:
    """The gateway's base URL, once an engine is ready (`wait`). Its images come from `network`."""
    sections["engines"] = {"urls": engines, "poll_s": 0.1, **sections.get("engines", {})}
    settings = Settings(**sections)
    app = Recorded(make_app(settings, network))
    with serving(app, **make_server_options(settings.http)) as url:
        deadline = time.monotonic() + 20
        while wait and httpx2.get(f"{url}/health/ready").status_code != 200:
            assert time.monotonic() < deadline, "no engine became ready"
            time.sleep(0.05)
        yield url
    # A test that failed has raised above: its own words come first.
    found = dict.fromkeys(problem for exchange in app.exchanges for problem in violations(exchange))
    assert not found, "answers that are not as published:\n" + "\n".join(found)


def metric(url: str, sample: str) -> float:
    """The value of one sample of a gateway's metrics, 0 where there is none yet."""
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)
