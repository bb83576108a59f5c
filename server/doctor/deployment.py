"""A running gateway or engine, asked what anybody may ask it: health, metrics, versions that fit one another."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata

from server.doctor.finding import Finding, failure, ok, warning
from server.top.reading import MOST_BYTES, Reading, UnreadableMetrics, parse_reading

TIMEOUT_S = 10.0
MOST_SKEW_S = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """`status` 0: nothing that is HTTP; `body` then says why."""

    status: int
    body: bytes
    date: str = ""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key is shown to whom it is meant for, and nobody else."""

    def redirect_request(self, *_: object) -> None:
        return None


def get(url: str, headers: Mapping[str, str] = {}) -> Said:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=TIMEOUT_S) as answer:
            return Said(answer.status, answer.read(MOST_BYTES + 1), answer.headers.get("date", ""))
    except urllib.error.HTTPError as answer:
        with answer:
            return Said(answer.code, b"", answer.headers.get("date", ""))
    except urllib.error.URLError as problem:
        reason = problem.reason
        told = getattr(reason, "strerror", None) or type(reason).__name__
        return Said(0, told.encode())
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return Said(0, type(problem).__name__.encode())


def check_gateway(url: str, api_key: str) -> Iterator[Finding]:
    what = f"gateway {shown(url)}"
    live = get(f"{url}/health/live")
    if live.status != 200:
        yield failure(what, f"/health/live: {told(live)}", "see that it runs, and that its port can be reached")
        return
    yield from check_skew(what, live)
    ready = get(f"{url}/health/ready")
    if ready.status == 200:
        yield ok(what, "ready: at least one engine answers")
    else:
        yield failure(what, f"/health/ready: {told(ready)}", "no engine is ready, or it stops: look at its log")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    reading = yield from read_metrics(what, get(f"{url}/metrics", headers))
    if reading is not None:
        yield from check_version(what, reading, "fovea_build_info")
        yield from check_engines_of(what, reading)
        yield from check_hash_first(what, reading)


def check_engine(url: str) -> Iterator[Finding]:
    what = f"engine {shown(url)}"
    health = get(f"{url}/health")
    if health.status != 200:
        yield failure(
            what, f"/health: {told(health)}", "see that it runs, is loaded, and does not stop: look at its log"
        )
    else:
        yield ok(what, "healthy")
    reading = yield from read_metrics(what, get(f"{url}/metrics"))
    if reading is None:
        return
    if reading.total("fovea_engine_info") is None:
        do = "start it with fovea engine: dashboards and alerts about memory and checkpoint have nothing to show"
        yield warning(what, "it tells no metrics of ours: stock vLLM", do)
    else:
        yield from check_version(what, reading, "fovea_engine_info")
    if any(name.startswith("fovea_encoder_cache_") for name in reading.samples):
        yield ok(what, "keeps embeddings")
    else:
        do = "where pictures come again: fovea engine --embedding-cache DIR"
        yield warning(what, "keeps no embeddings", do)


def read_metrics(what: str, said: Said) -> Generator[Finding, None, Reading | None]:
    if said.status in (401, 403):
        do = "give a key with the scope admin in FOVEA_API_KEY, and Prometheus one as well"
        yield warning(what, "/metrics asks for a key", do)
        return None
    if said.status != 200:
        yield failure(what, f"/metrics: {told(said)}", "dashboards and alerts need it: look at its log")
        return None
    try:
        reading = parse_reading(said.body, time.monotonic())
    except UnreadableMetrics as problem:
        yield failure(what, f"/metrics: {problem}", "is it a gateway's or an engine's address?")
        return None
    yield ok(what, "tells its metrics")
    return reading


def check_version(what: str, reading: Reading, name: str) -> Iterator[Finding]:
    ours = metadata.version("fovea")
    versions = reading.values_of(name, "version")
    if not versions:
        yield warning(what, "it does not say its version", f"update it to {ours}")
    elif versions != [ours]:
        do = "run one version of gateway, engines and this command"
        yield warning(what, f"version {', '.join(versions)}; this command is {ours}", do)
    else:
        yield ok(what, f"version {ours}")


def check_engines_of(what: str, reading: Reading) -> Iterator[Finding]:
    states = {
        labels["engine"]: labels["state"]
        for labels, value in reading.rows("fovea_engine_state")
        if value and {"engine", "state"} <= labels.keys()
    }
    out = [f"{engine} is {state}" for engine, state in sorted(states.items()) if state != "ready"]
    if out:
        yield warning(what, "; ".join(out), "look at these engines' logs: starting ends by itself, others do not")
    elif states:
        yield ok(what, f"all of its engines are ready ({len(states)})")


def check_hash_first(what: str, reading: Reading) -> Iterator[Finding]:
    hits = reading.total("fovea_hash_first_total", outcome="hit") or 0
    misses = reading.total("fovea_hash_first_total", outcome="miss") or 0
    if hits + misses:
        told_hits = f"{hits:.0f} requests went out with names of pictures alone, {misses:.0f} had to be sent again"
        if misses > hits:
            do = "raise vLLM's --mm-processor-cache-gb, or lower engines.hash_first_bytes to it"
            yield warning(what, told_hits, do)
        else:
            yield ok(what, told_hits)
    elif reading.total("fovea_images_total"):
        yield ok(what, "no picture has come again, or engines.hash_first is off")


def check_skew(what: str, said: Said) -> Iterator[Finding]:
    try:
        skew = abs(parsedate_to_datetime(said.date).timestamp() - time.time())
    except ValueError:
        return
    if skew > MOST_SKEW_S:
        yield warning(what, f"its clock and ours are {skew:.0f} s apart", "run NTP on both machines")


def shown(url: str) -> str:
    """Without what may be a password."""
    scheme, _, rest = url.rpartition("://")
    host = rest.rpartition("@")[2]
    return f"{scheme}://{host}" if scheme else host


def told(said: Said) -> str:
    return f"answers {said.status}" if said.status else said.body.decode(errors="replace")
