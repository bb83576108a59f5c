"""Prometheus and Alertmanager as Debian has them, on loopback, told to watch what runs here."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from demo.processes import ProcessFailed
from server.together import free_port

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = ROOT / "deploy" / "prometheus"
SHARE = Path("/usr/share")
TEMPLATES = Path("prometheus/alertmanager/default.tmpl")
START_S = 60
LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped: a job of deploy/prometheus/prometheus.yml, an address, and the labels that it is given."""

    job: str
    url: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest value of a series."""

    labels: Mapping[str, str]
    value: float


class Prometheus:
    """A running one, asked over its API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=60)

    def ask(self, expr: str) -> list[Sample]:
        """Every series' value now. Raises httpx2.HTTPStatusError where `expr` is no PromQL."""
        answer = self._http.post("/api/v1/query", data={"query": expr})
        answer.raise_for_status()
        data = answer.json()["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def scraped_since(self, unix_s: float, targets: int) -> bool:
        """Whether each of so many targets has been scraped, whole, at a later time."""
        later = self.ask(f"(timestamp(up) > {unix_s}) and up == 1")
        return len(later) >= targets

    def alerts(self) -> list[tuple[str, str]]:
        """Each rule of an alert, by name, with its state: firing, pending or inactive."""
        groups = self._http.get("/api/v1/rules", params={"type": "alert"}).json()["data"]["groups"]
        return [(rule["name"], rule["state"]) for group in groups for rule in group["rules"]]


def find(name: str) -> str | None:
    """Where the set-up put it, or on the PATH."""
    unpacked = ROOT / ".venv" / "programs" / "usr" / "bin" / name
    return str(unpacked) if unpacked.exists() else shutil.which(name)


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[Target], interval_s: int, alertmanager: str | None = None
) -> Iterator[Prometheus]:
    """Our own configuration and rules, of `targets` instead of the usual ports. Raises ProcessFailed."""
    told = configuration(targets, interval_s, alertmanager)
    told["rule_files"] = [str(hurried(path, folder, interval_s)) for path in rule_files(told)]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told, sort_keys=False))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with listening("prometheus", [*options, f"--web.listen-address={address}"], folder, f"http://{address}"):
        yield Prometheus(f"http://{address}")


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """Its URL. What it would send goes nowhere: nobody listens at its receivers. Raises ProcessFailed."""
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={CONFIGURATION}/alertmanager.yml", f"--storage.path={folder}/alertmanager"]
    options += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with listening("prometheus-alertmanager", options, folder, f"http://{address}"):
        yield f"http://{address}"


def configuration(targets: Sequence[Target], interval_s: int, alertmanager: str | None) -> dict[str, Any]:
    """deploy/prometheus/prometheus.yml with other targets, and in a hurry."""
    told: dict[str, Any] = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    told["global"] |= {f"{what}_interval": f"{interval_s}s" for what in ("scrape", "evaluation")}
    told["global"]["scrape_timeout"] = f"{interval_s}s"
    managers = [urlsplit(alertmanager).netloc] if alertmanager else []
    told["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": managers}]}]
    for job in told["scrape_configs"]:
        of_job = [target for target in targets if target.job == job["job_name"]]
        job.pop("file_sd_configs")
        job["static_configs"] = [
            {"targets": [urlsplit(target.url).netloc], "labels": dict(target.labels)} for target in of_job
        ]
    return told


def rule_files(told: Mapping[str, Any]) -> list[Path]:
    return sorted(path for pattern in told["rule_files"] for path in CONFIGURATION.glob(pattern))


def hurried(path: Path, folder: Path, interval_s: int) -> Path:
    """A copy of the rules, worked out as often as targets are scraped."""
    rules = yaml.safe_load(path.read_text())
    for group in rules["groups"]:
        group["interval"] = f"{interval_s}s"
    (folder / path.name).write_text(yaml.safe_dump(rules, sort_keys=False))
    return folder / path.name


def in_its_place(program: Path) -> list[str]:
    """Debian's Alertmanager reads templates in /usr/share and nowhere else: unpacked, it sees its own there, in a
    mount namespace, which needs no root where users may have namespaces."""
    share = program.parent.parent / "share"
    unpacked = program.name == "prometheus-alertmanager" and (share / TEMPLATES).exists()
    if not unpacked or (SHARE / TEMPLATES).exists():
        return [str(program)]
    bind = f'mount --bind "$0" {SHARE} && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", bind, str(share), str(program)]


@contextmanager
def listening(name: str, options: Sequence[str], folder: Path, url: str) -> Iterator[None]:
    """Debian's program `name`, from when it says that it is ready until it has stopped."""
    program = find(name)
    if program is None:
        raise ProcessFailed(f"there is no {name}: python3 deploy/environments/set_up.py {name}")
    command = [*in_its_place(Path(program)), *options]
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_ready(process, url, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/-/ready", timeout=5).status_code == httpx2.codes.OK:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise ProcessFailed(f"{process.args!r} did not become ready:\n{log.read_text()[-LAST_WORDS:]}")
