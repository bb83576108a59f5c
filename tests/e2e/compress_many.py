"""llm-compressor's `oneshot` on many models in one process, for the cost of one start.

`python -m tests.e2e.compress_many` reads [[source, out, job], ...] as JSON from stdin.
"""

import json
import sys
from pathlib import Path

from quantize.compress import compress


def main() -> None:
    for source, out, job in json.load(sys.stdin):
        compress(Path(source), Path(out), job)


if __name__ == "__main__":
    main()
