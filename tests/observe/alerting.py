"""Real Prometheus and Alertmanager with our configuration, but in a hurry and with a receiver of the test's."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from demo.observe.programs import Target, configuration, listening
from server.together import free_port
from tests.fakes.serve import serving
from tests.observe.rule_files import FOLDER, RULES, program

SECOND = "1s"
ARRIVES_S = 120


class Receiver:
    """What Alertmanager's webhooks are sent to: remembers path, name and status of each alert that came."""

    def __init__(self) -> None:
        self._came: list[tuple[str, str, str]] = []
        self.alerts: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self.app = Starlette(routes=[Route("/{path}", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        told = await request.json()
        with self._lock:
            for alert in told["alerts"]:
                name = alert["labels"]["alertname"]
                self._came.append((request.path_params["path"], name, alert["status"]))
                self.alerts[name] = alert
        return Response()

    def came(self) -> set[tuple[str, str, str]]:
        with self._lock:
            return set(self._came)


@contextmanager
def alertmanager(folder: Path, receiver: str) -> Iterator[str]:
    """Its URL. Only where it sends, and how long it waits before, is not as in alertmanager.yml."""
    told: dict[str, Any] = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    for route in (told["route"], *told["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": SECOND}
    for each in told["receivers"]:
        for hook in each["webhook_configs"]:
            hook["url"] = receiver + urlsplit(hook["url"]).path
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(told))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/kept"]
    options += [f"--web.listen-address={address}", "--cluster.listen-address="]
    program("prometheus-alertmanager")
    with listening("prometheus-alertmanager", options, folder, f"http://{address}"):
        yield f"http://{address}"


@contextmanager
def prometheus(folder: Path, targets: list[Target], manager: str) -> Iterator[str]:
    """Its URL. Every second, and nothing need last: `for` is a matter of promtool's tests."""
    told = configuration(targets, 1, manager)
    rules = folder / "rules"
    rules.mkdir()
    for path in RULES:
        file = yaml.safe_load(path.read_text())
        for group in file["groups"]:
            group["interval"] = SECOND
            for rule in group["rules"]:
                rule.pop("for", None)
        (rules / path.name).write_text(yaml.safe_dump(file))
    told["rule_files"] = [f"{rules}/*.yml"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    program("prometheus")
    with listening("prometheus", [*options, f"--web.listen-address={address}"], folder, f"http://{address}"):
        yield f"http://{address}"


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()
    with serving(receiver.app) as url:
        yield receiver, url


def ask(url: str, path: str) -> Any:
    answer = httpx2.get(url + path, timeout=30)
    answer.raise_for_status()
    return answer.json()


def wait_until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + ARRIVES_S
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)
