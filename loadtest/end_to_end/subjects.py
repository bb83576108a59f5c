"""Who is asked: a stock engine as it is, and what stands before one or two of them, each a process of its own."""

import json
import re
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtest.end_to_end.engines import Engines
from loadtest.end_to_end.result import DIRECT, IN_FRONT, NGINX, NO_AFFINITY, TWO
from loadtest.gateway.processes import free_port
from loadtest.peers.nginx import Nginx
from loadtest.peers.ours import make_key
from loadtest.scaling.processes import wait_until_all_are
from loadtest.soak.processes import program

# As users run it, but that a gateway which has just met its engines gives them their full load at once.
SETTINGS = {"FOVEA_ENGINES__SLOW_START_S": "0", "FOVEA_HTTP__DRAIN_GRACE_S": "0"}
AFFINITY = re.compile(r'^fovea_affinity_total\{.*outcome="(\w+)".*\} (\S+)$', re.M)


@dataclass(frozen=True, slots=True)
class Subject:
    """`url` has no /v1; `key` is none where nobody asks for one."""

    name: str
    url: str
    key: str = ""


@contextmanager
def all_subjects(folder: Path, engines: Engines) -> Iterator[list[Subject]]:
    """In the order of the page. nginx is among them where it is there."""
    keys, urls = folder / "keys.yaml", [each.url for each in engines.engines]
    key = make_key(keys)

    def fovea(name: str, behind: Sequence[str], **more: str) -> Subject:
        port, log = free_port(), folder / f"{name.replace(' ', '-')}.log"
        options = ["gateway", "--port", str(port), "--preprocessor", str(engines.checkpoint)]
        environ = {**SETTINGS, **more, "FOVEA_ENGINES__URLS": json.dumps(behind)}
        environ["FOVEA_AUTH__KEYS_FILE"] = str(keys)
        started = stack.enter_context(program(name, log, "server", *options, **environ))
        started.wait_for(f"http://127.0.0.1:{port}/health/ready")
        wait_until_all_are(port, len(behind))
        return Subject(name, f"http://127.0.0.1:{port}", key)

    with ExitStack() as stack:
        found = [Subject(DIRECT, urls[0]), fovea(IN_FRONT, urls[:1])]
        if Nginx().is_there():
            found.append(in_turn(stack, folder, urls))
        found.append(fovea(NO_AFFINITY, urls, FOVEA_ENGINES__AFFINITY="false"))
        found.append(fovea(TWO, urls))
        yield found


def in_turn(stack: ExitStack, folder: Path, urls: Sequence[str]) -> Subject:
    port, place = free_port(), folder / "nginx"
    place.mkdir()
    command = Nginx().command_for_all(port, [urlsplit(url).port or 80 for url in urls], place)
    started = stack.enter_context(program(NGINX, folder / "nginx.log", command=command))
    started.wait_for(f"http://127.0.0.1:{port}/health")
    return Subject(NGINX, f"http://127.0.0.1:{port}")


def affinity_of(subject: Subject) -> dict[str, int]:
    """How many requests went where their picture belongs (home), and how many elsewhere (spilled), so far."""
    with urllib.request.urlopen(f"{subject.url}/metrics", timeout=30) as answer:
        found = AFFINITY.findall(answer.read().decode())
    return {outcome: int(float(value)) for outcome, value in found}
