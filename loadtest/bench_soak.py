"""`make bench-soak`: half an hour at 80 % of what the arrangement can do: memory and open files must stay flat.

Real vLLM with the bundled model in FP8 and its embedding cache, a real gateway with keys and caches, and our
callers, all on the CPUs that this process has. Writes docs/benchmarks/soak.md, .json and .svg.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtest.driving.this_machine import cpu_name, cpus_here
from loadtest.gateway.machine import machine_busy_s, own_cpu_s
from loadtest.peers.processes import cpu_s, tree
from loadtest.soak.page import make_page, make_plot
from loadtest.soak.processes import ProcessFailed, Told, engine, gateway, told
from loadtest.soak.result import Result, Sample, Window
from loadtest.soak.watching import Watcher

Engine = Callable[[Path], AbstractContextManager[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Amounts:
    """`find_s` at `callers` finds the capacity, after `first_s` of the same; `rest_s` is given to close what is
    idle before it is said to have stayed open."""

    soak_s: float
    first_s: float = 20
    find_s: float = 45
    every_s: float = 10
    rest_s: float = 20
    callers: int = 8
    share: float = 0.8


@dataclass(slots=True)
class Deployment:
    url: str
    engine_url: str
    roots: dict[str, int]
    unjudged: dict[str, int]
    driver: Told

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for root in [*self.roots.values(), *self.unjudged.values()] for pid in tree(root))


@contextmanager
def deploy(start_engine: Engine, folder: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        engine_url, engine_pid = stack.enter_context(start_engine(folder))
        url, gateway_pid = stack.enter_context(gateway(folder, engine_url))
        pictures = stack.enter_context(told("loadtest.soak.pictures"))
        driver = stack.enter_context(told("loadtest.soak.driver", url, pictures.hear()))
        roots = {"gateway": gateway_pid} | ({"engine": engine_pid} if engine_pid else {})
        asking = {"driver": driver.process.pid, "pictures": pictures.process.pid}
        yield Deployment(url, engine_url, roots, asking, driver)


def ask(driver: Told, **what: float) -> dict[str, object]:
    driver.tell(what)
    answer: dict[str, object] = json.loads(driver.hear())
    return answer


def rest(watcher: Watcher, before: dict[int, Sample], rest_s: float) -> dict[int, Sample]:
    """Once nothing has more open than `before`, or `rest_s` have passed; idle connections are closed by and by."""
    deadline = time.monotonic() + rest_s
    while True:
        now = watcher.at_rest()
        more = any(
            now[pid].files + now[pid].sockets > sample.files + sample.sockets
            for pid, sample in before.items()
            if pid in now
        )
        if not more or time.monotonic() > deadline:
            return now
        time.sleep(min(1.0, rest_s / 4))


def soak(result: Result, deployed: Deployment, amounts: Amounts) -> None:
    # What is opened on first use is open now, and its size known.
    ask(deployed.driver, callers=amounts.callers, for_s=amounts.first_s)
    found = ask(deployed.driver, callers=amounts.callers, for_s=amounts.find_s)
    result.capacity_per_s = float(str(found["per_s"]))
    result.rate_per_s = amounts.share * result.capacity_per_s
    print(
        f"{result.capacity_per_s:.1f} visits a second can be had: {result.rate_per_s:.1f} from now on", flush=True
    )
    pages = [f"{deployed.url}/metrics", f"{deployed.engine_url}/metrics"]
    watcher = Watcher(deployed.roots, deployed.unjudged, pages, amounts.every_s)
    time.sleep(amounts.rest_s)
    before, began, had_s = watcher.at_rest(), time.monotonic(), deployed.cpu_s()
    with watcher:
        said = ask(deployed.driver, rate=result.rate_per_s, for_s=amounts.soak_s)
    result.lasted_s = time.monotonic() - began
    result.busy = (deployed.cpu_s() - had_s) / result.lasted_s / len(os.sched_getaffinity(0))
    after = rest(watcher, before, 3 * amounts.rest_s)
    for pid, watched in watcher.watched.items():
        watched.rest_before, watched.rest_after = before.get(pid), after.get(pid)
    result.watched = [watched for watched in watcher.watched.values() if watched.samples]
    result.changed = watcher.gone_or_new()
    result.sizes_at_s, result.sizes = watcher.sizes_at_s, watcher.sizes
    take(result, said)


def take(result: Result, said: dict[str, object]) -> None:
    told_of = json.loads(json.dumps(said))
    result.windows = [Window(**window) for window in told_of["windows"]]
    result.ratios, result.unexpected = told_of["ratios"], told_of["unexpected"]
    result.late_ms = told_of["late_ms"]


def bench(amounts: Amounts, start_engine: Engine = engine) -> Result:
    """Raises ProcessFailed."""
    began, busy_s, own_s = time.monotonic(), machine_busy_s(), own_cpu_s()
    result = Result(
        datetime.now(UTC).date().isoformat(),
        f"{cpu_name()}, {cpus_here()}, Python {platform.python_version()}",
        {name: version(name) for name in ("fovea", "uvloop", "uvicorn", "aiohttp")},
        " ".join(["python -m loadtest.bench_soak", *sys.argv[1:]]),
    )
    with (
        tempfile.TemporaryDirectory(prefix="fovea-soak-") as folder,
        deploy(start_engine, Path(folder)) as deployed,
    ):
        soak(result, deployed, amounts)
    others_s = machine_busy_s() - busy_s - (own_cpu_s() - own_s)
    result.others = max(0.0, others_s) / (time.monotonic() - began)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_soak", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak (30)")
    parser.add_argument("--every", type=float, default=10, help="seconds from sample to sample (10)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = bench(Amounts(args.minutes * 60, every_s=args.every))
    except ProcessFailed as problem:
        sys.exit(f"soak: {problem}")
    except KeyboardInterrupt:
        print("soak: told to stop; everything has stopped", file=sys.stderr)
        sys.exit(130)
    args.docs.mkdir(parents=True, exist_ok=True)
    (args.docs / "soak.json").write_text(json.dumps(asdict(result)) + "\n")
    (args.docs / "soak.svg").write_text(make_plot(result))
    (args.docs / "soak.md").write_text(make_page(result))
    print(make_page(result))


if __name__ == "__main__":
    main()
