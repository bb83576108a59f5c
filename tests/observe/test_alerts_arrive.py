"""Alerts on a real gateway go through real Prometheus and Alertmanager to whoever is told, and are taken back."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from demo.observe.programs import Target
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.observe.alerting import alertmanager, ask, prometheus, receiving, wait_until
from tests.observe.rule_files import FOLDER, program, rules
from tests.observe.test_rules import run

WHOLE = "keys: []\n"
BROKEN = "keys: [\n"


def rules_of(url: str) -> list[dict[str, Any]]:
    return [rule for group in ask(url, "/api/v1/rules")["data"]["groups"] for rule in group["rules"]]


def test_a_broken_keys_file_makes_a_ticket_that_is_taken_back_and_a_lost_engine_a_page(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(WHOLE)
    with ExitStack() as stack:
        receiver, hook = stack.enter_context(receiving())
        manager = stack.enter_context(alertmanager(tmp_path, hook))
        life = ExitStack()
        engine = life.enter_context(serving(FakeEngine().app))
        stack.push(life)
        address = stack.enter_context(gateway(engine, auth={"keys_file": keys, "keys_poll_s": 0.1}))
        targets = [Target("fovea-gateway", address), Target("fovea-engine", engine, (("engine", "engine-0"),))]
        watching = stack.enter_context(prometheus(tmp_path, targets, manager))

        def told(path: str, alert: str, status: str) -> None:
            wait_until(lambda: (path, alert, status) in receiver.came(), receiver.came)

        keys.write_text(BROKEN)
        told("ticket", "FoveaKeysFileBroken", "firing")
        alert = receiver.alerts["FoveaKeysFileBroken"]
        assert alert["labels"]["cluster"] == "fovea"
        assert alert["annotations"]["runbook_url"] == "docs/runbooks/keys-file-broken.md"
        keys.write_text(WHOLE)
        told("ticket", "FoveaKeysFileBroken", "resolved")

        loaded = rules_of(watching)
        assert len(loaded) == len(rules())
        assert {rule["health"] for rule in loaded} == {"ok"}
        assert ("page", "FoveaNoEngineReady", "firing") not in receiver.came()
        life.close()
        told("page", "FoveaNoEngineReady", "firing")
    assert {path for path, alert, _ in receiver.came() if alert == "FoveaKeysFileBroken"} == {"ticket"}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with receiving() as (_, hook), alertmanager(tmp_path_factory.mktemp("alertmanager"), hook) as url:
        yield url


DOWN = {"alertname": "FoveaGatewayDown", "severity": "page"}
NONE_READY = {"alertname": "FoveaNoEngineReady", "severity": "page"}
ENGINE_DOWN = {"alertname": "FoveaEngineDown", "instance": "e0:8000", "engine": "engine-0"}
NAMELESS_DOWN = {"alertname": "FoveaEngineDown", "instance": "e0:8000"}
BURNS = {"alertname": "FoveaErrorBudgetBurnsFast", "slo": "ttft", "model": "m", "window": "1h"}
# What is told first, what then, and whether the second is held back.
CASES: dict[str, tuple[dict[str, str], dict[str, str], bool]] = {
    "another-engine": (ENGINE_DOWN, {"alertname": "FoveaKvCacheFull", "instance": "e1:8000"}, False),
    "another-ejected": (ENGINE_DOWN, {"alertname": "FoveaEngineEjected", "engine": "engine-1"}, False),
    "no-labels": (NAMELESS_DOWN, {"alertname": "FoveaLimitStoreLost", "instance": "gw:8080"}, False),
    "no-name": (NAMELESS_DOWN, {"alertname": "FoveaEngineEjected", "engine": "engine-0"}, False),
    "gpu-of-a-dead-gateway": (DOWN, {"alertname": "FoveaGpuXid", "instance": "e0:8000"}, False),
    "lost-gpu-of-a-dead-gateway": (DOWN, {"alertname": "FoveaGpuLost", "instance": "e0:8000"}, False),
    "keys-without-engines": (NONE_READY, {"alertname": "FoveaKeysFileBroken", "instance": "gw:8080"}, False),
    "another-budget": (
        BURNS,
        {"alertname": "FoveaErrorBudgetBurnsSlowly", "slo": "availability", "model": "m"},
        False,
    ),
    "itself": (DOWN, DOWN, False),
    "not-ours": (DOWN, {"alertname": "NodeDown"}, False),
    "after-a-gateway": (DOWN, {"alertname": "FoveaErrorBudgetBurnsFast", "slo": "ttft", "model": "m"}, True),
    "replica": (DOWN, {"alertname": "FoveaGatewayReplicaDown", "instance": "gw:8080"}, True),
    "after-all-engines": (NONE_READY, ENGINE_DOWN, True),
    "its-memory": (ENGINE_DOWN, {"alertname": "FoveaKvCacheFull", "instance": "e0:8000"}, True),
    "its-ejection": (ENGINE_DOWN, {"alertname": "FoveaEngineEjected", "engine": "engine-0"}, True),
    "slow-burn": (BURNS, {"alertname": "FoveaErrorBudgetBurnsSlowly", "slo": "ttft", "model": "m"}, True),
    "longer-window": (BURNS, {**BURNS, "window": "6h"}, True),
}


def test_what_follows_from_something_worse_is_held_back_and_nothing_else(manager: str) -> None:
    """Each case is a deployment of its own: their labels `cluster` keep them apart."""
    told = [{**alert, "cluster": name} for name, case in CASES.items() for alert in case[:2]]
    httpx2.post(f"{manager}/api/v2/alerts", json=[{"labels": each} for each in told]).raise_for_status()
    expected = {name for name, (_, _, held_back) in CASES.items() if held_back}

    def held_back() -> set[str]:
        alerts = ask(manager, "/api/v2/alerts")
        return {each["labels"]["cluster"] for each in alerts if each["status"]["inhibitedBy"]}

    # Whatever comes first is looked at first: the cases that are not held back are.
    wait_until(lambda: held_back() >= expected, held_back)
    assert held_back() == expected


def test_an_alert_of_another_deployment_is_not_held_back(manager: str) -> None:
    other = {"alertname": "FoveaKeysFileBroken", "instance": "gw:8080", "cluster": "elsewhere"}
    told = [{**DOWN, "cluster": "here"}, other, {**other, "cluster": "here"}]
    httpx2.post(f"{manager}/api/v2/alerts", json=[{"labels": each} for each in told]).raise_for_status()

    def of(cluster: str) -> list[bool]:
        found = ask(manager, f"/api/v2/alerts?filter=cluster={cluster}&filter=alertname=FoveaKeysFileBroken")
        return [bool(each["status"]["inhibitedBy"]) for each in found]

    wait_until(lambda: of("here") == [True], lambda: of("here"))
    assert of("elsewhere") == [False]


def test_amtool_takes_the_configuration_and_sends_pages_to_the_pager() -> None:
    amtool, file = program("amtool"), FOLDER / "alertmanager.yml"
    run(amtool, "check-config", file)
    for severity, receiver in (("page", "pager"), ("ticket", "tickets"), ("other", "tickets")):
        options = ["config", "routes", "test", f"--config.file={file}", f"--verify.receivers={receiver}"]
        run(amtool, *options, f"severity={severity}", "alertname=FoveaAnything")
