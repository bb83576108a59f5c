"""Which engine is asked, and what becomes of requests when engines come, go, fail, flap or lie."""

import hashlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from server.engines.discovery import dns
from server.together import free_port
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import chat, image_part, picture

CHAT = "/v1/chat/completions"
QUICK = {"poll_s": 0.05, "slow_start_s": 0}


def ask(url: str, number: int = 0, **more: Any) -> httpx2.Response:
    """About the picture `number`."""
    body = chat(image_part(picture(size=(1 + number % 90, 1 + number // 90))), **more)
    return httpx2.post(url + CHAT, json=body, timeout=30)


def outcome(answer: httpx2.Response) -> int | str:
    return 200 if answer.status_code == 200 else str(answer.json()["error"]["code"])


def ready(url: str, *names: str) -> bool:
    return all(metric(url, f'fovea_engine_ready{{engine="{name}"}}') == 1 for name in names)


@contextmanager
def pair(**engines: Any) -> Iterator[tuple[FakeEngine, FakeEngine, str]]:
    """Two engines, both ready, and the gateway's URL."""
    one, two = FakeEngine(), FakeEngine()
    with serving(one.app) as a, serving(two.app) as b, gateway(a, b, engines={**QUICK, **engines}) as url:
        wait_until(lambda: ready(url, "engine-0", "engine-1"))
        yield one, two, url


def test_an_engine_that_is_dead_at_the_start_keeps_nobody_waiting() -> None:
    with socket.socket() as unused, serving(FakeEngine().app) as alive:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with gateway(dead, alive, engines=QUICK) as url:
            assert {outcome(ask(url, n)) for n in range(20)} == {200}
            assert not ready(url, "engine-0")


def test_engines_may_come_later_than_their_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Kubernetes: a headless service without endpoints has no address."""
    records: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        if not records:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return records

    monkeypatch.setattr(dns, "look_up", look_up)
    with serving(FakeEngine().app) as engine:
        port = engine.rpartition(":")[2]
        pools = [
            {"name": "main", "dns": f"http://engines.svc:{port}"},
            {"name": "new", "urls": ["http://127.0.0.1:9"]},
        ]
        with gateway(wait=False, engines={**QUICK, "pools": pools}) as url:
            assert httpx2.get(f"{url}/health/live").status_code == 200
            wait_until(lambda: "1 unreachable" in httpx2.get(f"{url}/health/ready").text)
            answer = httpx2.get(f"{url}/health/ready")
            assert (answer.status_code, outcome(answer)) == (503, "no_engine_ready")
            told = "No engine is ready: main: none found yet; new: 1 unreachable."
            assert answer.json()["error"]["message"] == told
            records.append("127.0.0.1")
            wait_until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200)
            assert outcome(ask(url)) == 200


def test_an_engine_that_hangs_holds_up_the_looks_at_no_other() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with serving(FakeEngine().app) as alive:
            hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with gateway(hanging, alive, engines={**QUICK, "connect_timeout_s": 60}) as url:
                assert outcome(ask(url)) == 200


def test_an_engine_that_dies_under_load_loses_nothing_but_itself() -> None:
    one, two = FakeEngine(), FakeEngine()
    with ExitStack() as stack, serving(two.app) as b, ThreadPoolExecutor(8) as callers:
        a = stack.enter_context(serving(one.app))
        with gateway(a, b, engines={**QUICK, "retry_floor": 100}) as url:
            wait_until(lambda: ready(url, "engine-0", "engine-1"))
            asked = [callers.submit(ask, url, n) for n in range(120)]
            wait_until(lambda: len(one.chats) > 5)
            stack.close()
            outcomes = Counter(outcome(future.result()) for future in asked)
            assert outcomes == {200: 120}
            wait_until(lambda: not ready(url, "engine-0"))
            before = len(two.chats)
            assert {outcome(ask(url, n)) for n in range(20)} == {200}
            assert len(two.chats) == before + 20


def test_an_engine_that_comes_back_gets_its_own_pictures_again() -> None:
    with pair() as (one, two, url):
        assert {outcome(ask(url, n)) for n in range(20)} == {200}
        owned = len(one.chats)
        assert 0 < owned < 20
        one.healthy = False
        wait_until(lambda: not ready(url, "engine-0"))
        assert {outcome(ask(url, n)) for n in range(20)} == {200}
        assert (len(one.chats), len(two.chats)) == (owned, 40 - owned)
        one.healthy = True
        wait_until(lambda: ready(url, "engine-0"))
        assert {outcome(ask(url, n)) for n in range(20)} == {200}
        assert len(one.chats) == 2 * owned


def test_an_engine_that_fails_what_others_can_do_is_put_out_although_it_answers_probes() -> None:
    with pair(eject_failures=3, retry_floor=100) as (one, two, url):
        one.fail = 500
        assert {outcome(ask(url, n)) for n in range(60)} == {200}
        wait_until(lambda: metric(url, 'fovea_engine_ejections_total{engine="engine-0"}') >= 1)
        assert metric(url, 'fovea_engine_ejections_total{engine="engine-1"}') == 0
        # It answers probes: it comes back, fails, and stays out for longer each time.
        assert len(one.chats) < 30
        assert len(two.chats) == 60


def test_an_engine_that_breaks_off_its_answers_is_put_out_although_it_answers_probes() -> None:
    with pair(eject_failures=3) as (one, _, url):
        one.die_after = 2
        said = [ask(url, n, stream=True).text for n in range(40)]
        assert 3 <= sum("engine_failed" in text for text in said) <= 20
        assert metric(url, 'fovea_engine_ejections_total{engine="engine-0"}') >= 1
        assert metric(url, 'fovea_engine_ejections_total{engine="engine-1"}') == 0
        assert ready(url, "engine-1")


def test_never_more_engines_are_put_out_than_may_be() -> None:
    with pair(eject_failures=1, eject_most=0.4, retry_floor=100) as (one, _, url):
        one.fail = 500
        assert {outcome(ask(url, n)) for n in range(30)} == {200}
        assert metric(url, 'fovea_engine_ejections_total{engine="engine-0"}') == 0
        assert ready(url, "engine-0")


def test_a_request_that_no_engine_can_bear_puts_none_out_however_often_it_comes() -> None:
    with pair(eject_failures=2, retry_floor=100) as (one, two, url):
        one.fail = two.fail = 500
        assert {outcome(ask(url, n)) for n in range(20)} == {"engine_failed"}
        assert ready(url, "engine-0", "engine-1")
        assert metric(url, 'fovea_engine_ejections_total{engine="engine-0"}') == 0


def test_when_every_engine_fails_second_tries_stay_within_their_budget() -> None:
    with pair(retry_ratio=0.1, retry_floor=3) as (one, two, url):
        one.fail = two.fail = 500
        with ThreadPoolExecutor(8) as callers:
            assert set(callers.map(lambda n: outcome(ask(url, n)), range(100))) == {"engine_failed"}
        calls = len(one.chats) + len(two.chats)
        again = metric(url, "fovea_engine_retries_total")
        assert calls == 100 + again
        # Were this slower than the window of 10 s, its floor would be there again.
        assert 3 <= again <= 0.1 * 100 + 3 * 4
        assert metric(url, "fovea_engine_retries_refused_total") == 100 - again


def test_when_every_engine_is_gone_callers_are_told_to_come_back() -> None:
    with pair() as (one, two, url):
        one.healthy = two.healthy = False
        wait_until(lambda: not ready(url, "engine-0") and not ready(url, "engine-1"))
        answer = ask(url)
        assert (answer.status_code, outcome(answer)) == (503, "no_engine_ready")
        assert int(answer.headers["retry-after"]) > 0
        two.healthy = True
        wait_until(lambda: ready(url, "engine-1"))
        assert outcome(ask(url)) == 200


def test_an_overloaded_engine_is_passed_over_and_one_that_blames_the_caller_is_not() -> None:
    with pair(retry_floor=100) as (one, two, url):
        one.fail = 503
        assert {outcome(ask(url, n)) for n in range(20)} == {200}
        assert metric(url, "fovea_engine_retries_total") == len(one.chats) > 0
        one.fail = two.fail = 503
        assert outcome(ask(url)) == "overloaded"
        again = metric(url, "fovea_engine_retries_total")
        for one.fail, said in ((400, "rejected_by_engine"), (404, "rejected_by_engine"), (429, "overloaded")):
            two.fail = one.fail
            assert {outcome(ask(url, n)) for n in range(10)} == {said}
        assert metric(url, "fovea_engine_retries_total") == again
        assert ready(url, "engine-0", "engine-1")


def test_a_slow_engine_gets_no_more_than_its_share_of_what_is_under_way() -> None:
    with pair() as (slow, quick, url), ThreadPoolExecutor(30) as callers:
        # Engines with something waiting would be spared by the gate.
        waiting = 'num_requests_waiting{engine="0",model_name="demo"}'
        slow.tells = quick.tells = slow.tells.replace(f"{waiting} 1.0", f"{waiting} 0.0")
        slow.go.clear()
        asked = []
        for n in range(30):
            seen = len(slow.chats)
            asked.append(callers.submit(ask, url, n))
            wait_until(lambda one=asked[-1], seen=seen: one.done() or len(slow.chats) > seen)
        # Two under way are more than 1.25 x its half of them and the next one, whatever pictures prefer.
        assert 1 <= len(slow.chats) <= 2
        assert len(slow.chats) + len(quick.chats) == 30
        slow.go.set()
        assert {outcome(future.result()) for future in asked} == {200}


@contextmanager
def named(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The name engines.example has these addresses, whatever they are at the time."""

    async def resolve(host: str, _: int) -> list[str]:
        if host != "engines.example" or not addresses:
            raise OSError("no such name")
        return [*addresses]

    monkeypatch.setattr(dns, "look_up", resolve)
    yield


def test_engines_found_in_dns_come_and_go_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    port, addresses = free_port(), ["127.0.0.2"]
    engines = {f"127.0.0.{i}": FakeEngine() for i in (2, 3, 4)}
    pool = {"name": "found", "dns": f"http://engines.example:{port}"}
    stop = threading.Event()
    outcomes: Counter[int | str] = Counter()

    def keep_asking(number: int) -> None:
        while not stop.is_set():
            number += 7
            outcomes[outcome(ask(url, number % 2000))] += 1

    with ExitStack() as stack, named(addresses, monkeypatch):
        for address, engine in engines.items():
            stack.enter_context(serving(engine.app, (address, port)))
        url = stack.enter_context(gateway(engines={**QUICK, "pools": [pool]}))
        with ThreadPoolExecutor(4) as callers:
            asking = [callers.submit(keep_asking, n) for n in range(4)]
            for now in (["127.0.0.2", "127.0.0.3"], ["127.0.0.3", "127.0.0.4"], [], ["127.0.0.4"]):
                addresses[:] = now
                for address in now:
                    seen = len(engines[address].chats)
                    wait_until(lambda a=address, s=seen: len(engines[a].chats) > s)
            wait_until(lambda: len(series(url)) == 1)
            seen = [len(engines[address].chats) for address in ("127.0.0.2", "127.0.0.3")]
            stop.wait(0.3)
            assert seen == [len(engines[address].chats) for address in ("127.0.0.2", "127.0.0.3")]
            stop.set()
            for each in asking:
                each.result()
        assert set(outcomes) == {200}
        (name,) = series(url)
        assert name.startswith("found-")
        assert "127" not in name


def series(url: str) -> set[str]:
    """The engines that metrics tell of."""
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return {line.split('"')[1] for line in lines if line.startswith("fovea_engine_ready{")}


def test_an_alias_is_listed_and_engines_are_called_by_their_own_names() -> None:
    engine = FakeEngine("demo-fp8")
    with serving(engine.app) as one, gateway(one, engines={"aliases": {"gpt-4o": "demo-fp8"}}) as url:
        listed = {card["id"]: card for card in httpx2.get(f"{url}/v1/models").json()["data"]}
        assert listed.keys() == {"gpt-4o", "demo-fp8"}
        assert listed["gpt-4o"]["max_model_len"] == 4096
        answer = ask(url, model="gpt-4o")
        assert answer.json()["model"] == engine.chats[0]["model"] == "demo-fp8"
        sample = 'fovea_requests_total{code="",model="gpt-4o",route="chat",status="200",tenant="-"}'
        assert metric(url, sample) == 1


def test_several_models_and_adapters_stand_behind_one_gateway() -> None:
    one, two = FakeEngine("a"), FakeEngine("b")
    with serving(one.app) as first, serving(two.app) as second, gateway(first, second, engines=QUICK) as url:
        wait_until(lambda: ready(url, "engine-0", "engine-1"))
        assert [outcome(ask(url, n, model=model)) for n in range(9) for model in ("a", "b")] == [200] * 18
        assert ({chat["model"] for chat in one.chats}, {chat["model"] for chat in two.chats}) == ({"a"}, {"b"})
        # An adapter is loaded while the engine runs.
        assert outcome(ask(url, model="sql")) == "model_not_found"
        two.cards = [*two.cards, {"id": "sql", "object": "model", "parent": "b", "max_model_len": None}]
        wait_until(lambda: httpx2.get(f"{url}/v1/models/sql").status_code == 200)
        assert httpx2.get(f"{url}/v1/models/sql").json()["max_model_len"] == 4096
        assert [outcome(ask(url, n, model="sql")) for n in range(5)] == [200] * 5
        assert sum(chat["model"] == "sql" for chat in two.chats) == 5


def test_a_pool_serves_the_models_that_it_is_set_to_and_no_others() -> None:
    engine = FakeEngine("a")
    engine.cards = [{"id": name, "max_model_len": 4096} for name in ("secret", "a")]
    with serving(engine.app) as one:
        pool = {"name": "main", "urls": [one], "models": ["a"]}
        with gateway(engines={**QUICK, "pools": [pool]}) as url:
            assert [card["id"] for card in httpx2.get(f"{url}/v1/models").json()["data"]] == ["a"]
            assert outcome(ask(url, model="secret")) == "model_not_found"
            assert ready(url, "main-0")


def test_a_canarys_tenants_stay_with_it_and_are_served_elsewhere_while_it_is_out() -> None:
    stable, canary = FakeEngine(), FakeEngine()
    names = [f"tenant-{n}" for n in range(30)]
    keys = {hashlib.sha256(name.encode()).hexdigest(): name for name in names}

    def ask_as(url: str, name: str, number: int) -> bool:
        """Whether the canary was asked."""
        before = len(canary.chats)
        body = chat(image_part(picture(size=(1 + number, 8))))
        httpx2.post(url + CHAT, json=body, headers={"authorization": f"Bearer {name}"}).raise_for_status()
        return len(canary.chats) > before

    with serving(stable.app) as one, serving(canary.app) as two:
        pools = [
            {"name": "stable", "urls": [one], "weight": 60},
            {"name": "canary", "urls": [two], "weight": 40},
        ]
        with gateway(engines={**QUICK, "pools": pools}, auth={"key_hashes": keys}) as url:
            wait_until(lambda: ready(url, "stable-0", "canary-0"))
            first = {name: ask_as(url, name, 0) for name in names}
            assert 4 <= sum(first.values()) <= 20
            assert all({ask_as(url, name, number) for number in (1, 2)} == {first[name]} for name in names)
            canary.healthy = False
            wait_until(lambda: not ready(url, "canary-0"))
            assert not any(ask_as(url, name, 3) for name in names)


@pytest.mark.parametrize(
    "cards",
    [5, None, "x" * 1000, [5, None, []], [{"id": 5}], [{"id": "a\nb"}], [{"id": "x" * 5000}], {"id": "x"}, []],
)
def test_an_engine_that_lists_nonsense_is_not_ready_and_harms_no_other(cards: Any) -> None:
    liar, honest = FakeEngine(), FakeEngine()
    liar.cards = cards
    with serving(liar.app) as one, serving(honest.app) as two, gateway(one, two, engines=QUICK) as url:
        assert {outcome(ask(url, n)) for n in range(5)} == {200}
        assert not ready(url, "engine-0")
        assert [card["id"] for card in httpx2.get(f"{url}/v1/models").json()["data"]] == ["demo"]


def test_an_engine_that_lists_endless_models_is_heard_to_a_bound() -> None:
    liar = FakeEngine()
    liar.cards = [*liar.cards, *({"id": f"m{n}"} for n in range(20_000))]
    with serving(liar.app) as one, gateway(one, engines=QUICK) as url:
        assert len(httpx2.get(f"{url}/v1/models").json()["data"]) == 256
        assert outcome(ask(url)) == 200
