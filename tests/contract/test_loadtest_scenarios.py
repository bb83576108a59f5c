"""Each bundled scenario, small, against a gateway and an engine: what it says of pictures, turns and tenants is
what the engine sees."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from loadtest.cli import app
from loadtest.records import read_run
from loadtest.reporting.report import REPORT_FILE, read_report
from loadtest.scenario.document import Scenario
from loadtest.scenario.plan import PlannedConversation, make_plan
from loadtest.scenario.reading import bundled_names, read_scenario
from tests.contract.test_admission import keys_file, wait_until
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving

REFUSED = 'fovea_rejections_total{code="queue_full"'
REQUESTS = {"inspection-drone": 6, "multi-turn-inspector": 16, "receipts": 10}  # others: 30
TURNS = {"multi-turn-inspector": 8}  # others: 1


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("quiet", "noisy"):
        monkeypatch.setenv(f"FOVEA_LOADTEST_KEY_{name.upper()}", name)


def small(name: str) -> list[str]:
    """The scenario as it is, but as many requests as a test has time for, and all of them soon."""
    scenario, _ = read_scenario(name)
    sets = [f"requests={REQUESTS.get(name, 30)}", "duration_s=null", "warm_up_requests=2"]
    if name == "multi-turn-inspector":
        sets.append("conversations.think_s=0.01")
    if scenario.arrival.kind == "poisson":
        sets.append("arrival.rate=20" if len(scenario.tenants) > 1 else "arrival.rate=40")
    if scenario.arrival.kind == "bursts":
        sets.append("arrival={kind: bursts, rate: 20, burst_rate: 200, every_s: 1, for_s: 0.2}")
    if any(tenant.arrival for tenant in scenario.tenants):
        tenants = [tenant.model_dump(mode="json", exclude_none=True) for tenant in scenario.tenants]
        for tenant in tenants:
            if "arrival" in tenant:
                tenant["arrival"] = {"kind": "bursts", "rate": 60, "burst_rate": 600, "every_s": 0.3, "for_s": 0.1}
        sets.append("tenants=" + orjson.dumps(tenants).decode())
    return sets


def run(name: str, url: str, folder: Path, *more: str) -> Result:
    sets = [part for setting in small(name) for part in ("--set", setting)]
    command = ["run", name, "--url", f"{url}/v1", "--metrics", f"{url}/metrics", "--out", str(folder), *sets, *more]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def plan_of(name: str) -> tuple[Scenario, list[PlannedConversation]]:
    scenario, _ = read_scenario(name, small(name))
    return scenario, list(make_plan(scenario, seed=1))


def parts_of(chats: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for chat in chats:
        yield from images_in(chat["messages"])


def sizes_by_name(chats: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Of pictures that came with bytes: the gateway leaves them out where the engine knows the name."""
    found = {}
    for part in parts_of(chats):
        if part["image_url"]:
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            found[part["uuid"]] = Image.open(io.BytesIO(data)).size
    return found


@pytest.mark.parametrize("name", bundled_names())
def test_what_a_scenario_says_is_what_an_engine_is_asked(name: str, tmp_path: Path) -> None:
    engine, auth = FakeEngine(), keys_file(tmp_path / "keys", quiet={"priority": "interactive"}, noisy={})
    with (
        serving(engine.app) as engine_url,
        gateway(engine_url, **({"auth": auth} if "noisy" in name else {})) as url,
    ):
        done = run(name, url, tmp_path / "run", "--assert", "error_share<=0")
    assert done.exit_code == 0, done.output
    scenario, plan = plan_of(name)
    turns = [turn for conversation in plan for turn in conversation.turns]
    # The gateway's names are of a tenant's pictures.
    shown = [(each.tenant.name, picture) for each in plan for turn in each.turns for picture in turn.pictures]
    assert len(engine.chats) == len(turns) == REQUESTS.get(name, 30)
    longest = TURNS.get(name, 1)
    lengths = {2 * turn + 1: len(plan) for turn in range(longest)}
    assert Counter(len(chat["messages"]) for chat in engine.chats) == lengths
    # A conversation's picture is in each of its turns.
    assert Counter(Counter(part["uuid"] for part in parts_of(engine.chats)).values()) == Counter(
        longest * count for count in Counter(shown).values()
    )
    sizes = sizes_by_name(engine.chats)
    assert Counter(sizes.values()) == Counter((picture.width, picture.height) for _, picture in set(shown))
    assert set(sizes.values()) <= {(size.width, size.height) for size in scenario.pictures.sizes}
    asked = Counter(conversation.tenant.name for conversation in plan for _ in conversation.turns)
    assert Counter(request.tenant for request in read_run(tmp_path / "run").requests) == asked
    if scenario.pictures.reuse.kind == "unique":
        assert len(set(shown)) == len(shown)


def test_the_noisy_neighbour_is_refused_and_the_quiet_tenant_answered(tmp_path: Path) -> None:
    """Nothing is answered until all have come: one is under way, ten wait, and whom to refuse is the gateway's."""
    engine = FakeEngine()
    auth = keys_file(tmp_path / "keys", quiet={"priority": "interactive"}, noisy={"priority": "batch"})
    admission = {"max_running": 1, "max_waiting": 10, "wait_timeout_s": 600, "refresh_s": 0.05}
    _, plan = plan_of("noisy-neighbour")
    asked = Counter(each.tenant.name for each in plan)
    assert 1 < asked["quiet"] <= 5 < 24 < asked["noisy"]
    engine.go.clear()
    with (
        serving(engine.app) as engine_url,
        gateway(engine_url, auth=auth, admission=admission) as url,
        ThreadPoolExecutor(1) as thread,
    ):
        releasing = thread.submit(release_when, engine, lambda: refused_by(url) == 30 - 11)
        more = ("--set", "warm_up_requests=0", "--assert", "tenant.quiet.answered_share>=1")
        done = run("noisy-neighbour", url, tmp_path / "run", *more)
        releasing.result()
    assert done.exit_code == 0, done.output
    requests = read_run(tmp_path / "run").requests
    assert Counter((one.tenant, one.code) for one in requests) == {
        ("quiet", ""): asked["quiet"], ("noisy", "queue_full"): 19, ("noisy", ""): asked["noisy"] - 19,
    }  # fmt: skip
    report = read_report(tmp_path / "run" / REPORT_FILE)
    noisy, quiet = report.tenants
    assert (noisy.name, noisy.requests, noisy.answered) == ("noisy", asked["noisy"], asked["noisy"] - 19)
    assert (quiet.name, quiet.requests, quiet.answered) == ("quiet", asked["quiet"], asked["quiet"])
    assert {tally.name: tally.counts for tally in report.tallies}["refusals"] == {"queue_full": 19}


def release_when(engine: FakeEngine, condition: Callable[[], bool]) -> None:
    try:
        wait_until(condition, 120)
    finally:
        engine.go.set()


def refused_by(url: str) -> float:
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(REFUSED))
