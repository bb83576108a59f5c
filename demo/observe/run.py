"""`make observe`: a deployment under load for three minutes, and what its dashboards and alerts show of it.

With --keep it stays, Prometheus and Alertmanager to be looked at, until Ctrl-C.
"""

import argparse
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.observe.programs import alertmanager
from demo.observe.scene import Scene, scene, start_engine
from demo.observe.values import lines
from demo.processes import ProcessFailed, Running
from deploy.grafana.queries import FOLDER, read_panels
from loadtest.embedding_cache.store import valkey

MODEL = Path(__file__).parent.parent / "model"
NAME = "fovea-demo"
LOAD_S = 180
SCRAPES_S = 2
WINDOW = "1m"
ENGINES = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    parser.add_argument("--seconds", type=int, default=LOAD_S, help="of load (%(default)s)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with deployment() as (shown, managing):
            watch(shown, managing, args.seconds)
            if args.keep:
                stay(shown)
    except ProcessFailed as problem:
        print(f"observe: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nobserve: told to stop; everything has stopped", flush=True)
        sys.exit(130)
    print("everything has stopped")


@contextmanager
def deployment() -> Iterator[tuple[Scene, str]]:
    """And Alertmanager's URL. What is written goes with it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fovea-observe-")))
        heading(
            f"Quantize the bundled model; start {ENGINES} engines of it, a gateway, Prometheus and Alertmanager"
        )
        checkpoint = quantized(folder)
        managing = stack.enter_context(alertmanager(folder))
        store = stack.enter_context(valkey())
        if not store:
            print("no Valkey here: limits are the gateway's own, and engines share no embeddings")
        began = time.monotonic()
        engines = [
            start_engine(stack, checkpoint, NAME, folder / f"embeddings-{number}", store)
            for number in range(ENGINES)
        ]
        for number, engine in enumerate(engines):
            engine.wait()
            print(f"engine-{number}: ready after {time.monotonic() - began:.0f} s at {engine.url}", flush=True)
        urls = [engine.url for engine in engines]
        shown = stack.enter_context(
            scene(
                folder,
                urls,
                NAME,
                preprocessor=MODEL,
                store=store,
                interval_s=SCRAPES_S,
                alertmanager=managing,
                seed=time.time_ns(),
            )
        )
        yield shown, managing


def quantized(folder: Path) -> Path:
    out = folder / "checkpoint"
    quantize = Running("quantize.cli", "run", str(MODEL), str(out), "--recipe", "fp8-dynamic")
    if code := quantize.finish(300):
        raise ProcessFailed(f"fovea-quantize ended with {code}:\n{quantize.tail()}")
    return out


def watch(shown: Scene, managing: str, seconds: int) -> None:
    """Load, then what is to be seen of it."""
    where(shown, managing)
    heading(f"Load: {seconds} seconds of pictures, conversations, files, streams, refusals")
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        shown.load.round()
        answers = shown.load.outcomes.total()
        print(
            f"{time.monotonic() - began:4.0f} s: {answers:,} answers, this round in "
            f"{time.monotonic() - began - passed:.1f} s",
            flush=True,
        )
    heading("Dashboards: what each panel shows now")
    panels = read_panels(window=WINDOW, span=f"{math.ceil(time.monotonic() - began)}s")
    for line in lines(panels, shown.prometheus):
        print(line, flush=True)
    heading("Alerts")
    for name, state in shown.prometheus.alerts():
        print(f"    {name:<34} {state}")


def where(shown: Scene, managing: str) -> None:
    heading("Where to look")
    print(f"gateway        {shown.gateway}/metrics")
    print(f"Prometheus     {shown.prometheus.url}/graph")
    print(f"Alertmanager   {managing}")
    print(f"Grafana        dashboards to import: {FOLDER}")
    print(f"without it     make screenshots PROMETHEUS={shown.prometheus.url}")


def stay(shown: Scene) -> None:
    heading("It goes on until Ctrl-C")
    while True:
        shown.load.round()


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main()
