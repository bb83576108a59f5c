"""What README and docs/benchmarks/README.md claim, made of the benchmarks' JSONs: `python -m loadtest.claims`.

Each claim is a ratio out of one run. `--check` says whether the files still are what the figures say; a unit test
asks it.
"""

import argparse
import re
import sys
from pathlib import Path

from loadtest.suite.index import BEGIN, END, make_index, make_section

DOCS = Path("docs/benchmarks")


def with_section(readme: str, section: str) -> str:
    """Raises ValueError for a README without the two marks."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"README.md must have {BEGIN!r} and {END!r} once each")
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: section, readme, flags=re.DOTALL)


def wanted(root: Path) -> dict[Path, str]:
    """The files as they should be."""
    readme, docs = root / "README.md", root / DOCS
    return {
        readme: with_section(readme.read_text(), make_section(docs)),
        docs / "README.md": make_index(docs),
    }


def stale(root: Path) -> list[Path]:
    return [path for path, text in wanted(root).items() if not path.exists() or path.read_text() != text]


def write(root: Path) -> None:
    for path, text in wanted(root).items():
        path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.claims", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where they are not as they should be"
    )
    args = parser.parse_args()
    if not args.check:
        write(Path())
    elif found := stale(Path()):
        sys.exit(f"not what the figures say: {', '.join(map(str, found))} (python -m loadtest.claims)")


if __name__ == "__main__":
    main()
