"""`make bench-cache`: time to first token with embeddings of each tier, beside stock vLLM and its own connector.

Real engines, one checkpoint (see embedding_cache/checkpoint.py), the subjects side by side or in turn. Writes
docs/benchmarks/embedding-cache.md and embedding-cache.json.
"""

import argparse
import json
import math
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from loadtest.embedding_cache.checkpoint import vision_tensors, write_checkpoint
from loadtest.embedding_cache.lives import LARGE, PATCH, SMALL, Amounts, live_example, live_ours_beside_stock
from loadtest.embedding_cache.page import make_page
from loadtest.embedding_cache.result import Result
from loadtest.embedding_cache.store import valkey
from loadtest.engine_environment import engine_versions
from loadtest.gateway.machine import others_have

BASE = Path("demo/model")
SUBJECTS = ("ours", "example")


def bench(build: Path, amounts: Amounts, subjects: list[str]) -> Result:
    began, others = time.monotonic(), others_have()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    say("writing the checkpoint")
    model = build / "model"
    write_checkpoint(BASE, model)
    result = begin(model)
    with valkey() as shared:
        if not shared:
            say("no Valkey (make setup): nothing is shared")
        if "ours" in subjects:
            live_ours_beside_stock(model, build, shared, amounts, result, say)
        if "example" in subjects:
            live_example(model, build, amounts, result, say)
    result.took_s = time.monotonic() - began
    result.others = max(others, others_have())
    return result


def begin(model: Path) -> Result:
    width = json.loads((model / "config.json").read_text())["text_config"]["hidden_size"]
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs",
        versions=engine_versions(),
        tower_bytes=sum(2 * math.prod(shape) for _, shape, _ in vision_tensors(width)),
        embedding_bytes={str(side): (side // PATCH) ** 2 * width * 2 for side in (SMALL, LARGE)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench_embedding_cache", description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs/benchmarks"), help="folder for the results")
    parser.add_argument(
        "--small", type=int, default=6, help=f"fresh pictures of {SMALL}x{SMALL} on each, six or more (6)"
    )
    parser.add_argument("--large", type=int, default=2, help=f"of {LARGE}x{LARGE} (2)")
    parser.add_argument("--only", choices=SUBJECTS, help="try this alone, and write no page")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no engine outlives us
    amounts = Amounts(
        pairs={SMALL: args.small, LARGE: args.large},
        # Its figures are for comparison; encoding a large one takes a minute.
        example={SMALL: min(6, args.small), LARGE: min(1, args.large)},
    )
    with tempfile.TemporaryDirectory(prefix="fovea-bench-") as build:
        result = bench(Path(build), amounts, [args.only] if args.only else list(SUBJECTS))
    page = make_page(result)
    print(page)
    if not args.only:
        args.docs.mkdir(parents=True, exist_ok=True)
        (args.docs / "embedding-cache.json").write_text(json.dumps(asdict(result)) + "\n")
        (args.docs / "embedding-cache.md").write_text(page)


if __name__ == "__main__":
    main()
