"""`make docs`: writes the operator's guide's tables of metrics out of their declarations.

The guide is docs/operating.md, or the path that is given. A test holds what is committed to what this writes.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from server.metering.declaring import Declared
from server.metering.labels import Label
from server.metrics import Metrics

GUIDE = Path("docs/operating.md")
# Of a label's values; those of longer sets stand in a table of their own.
MOST_IN_A_ROW = 7
BEGIN = "<!-- Made by `make docs`: what is written here by hand is lost. -->\n"
END = "<!-- Until here. -->\n"


def make_tables(metrics: Sequence[Declared]) -> str:
    """In Markdown: every metric, the labels that are no small sets, and the buckets."""
    return "\n".join([*metrics_table(metrics), "", *labels_table(metrics), "", *buckets_table(metrics), ""])


def metrics_table(metrics: Iterable[Declared]) -> Iterable[str]:
    yield "| metric | type | unit | labels | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for each in metrics:
        kind = f"{each.type}, {each.across}" if each.type == "gauge" else each.type
        labels = "; ".join(map(worded, each.labels))
        yield f"| `{each.name}` | {kind} | {each.unit} | {labels} | {each.help} |"


def worded(label: Label) -> str:
    return f"{label.name}: {values_of(label)}" if label.values and not stands_apart(label) else label.name


def values_of(label: Label) -> str:
    return ", ".join(f"`{value}`" for value in label.values) or label.bound


def stands_apart(label: Label) -> bool:
    return not label.values or len(label.values) > MOST_IN_A_ROW


def labels_table(metrics: Iterable[Declared]) -> Iterable[str]:
    yield "| label | of | its values |"
    yield "| --- | --- | --- |"
    of: dict[Label, list[str]] = {}
    for each in metrics:
        for label in each.labels:
            if stands_apart(label):
                of.setdefault(label, []).append(f"`{each.name}`")
    for label, names in of.items():
        yield f"| {label.name} | {', '.join(names)} | {values_of(label)} |"


def buckets_table(metrics: Iterable[Declared]) -> Iterable[str]:
    yield "| buckets up to | of |"
    yield "| --- | --- |"
    of: dict[tuple[float, ...], list[str]] = {}
    for each in metrics:
        if each.buckets:
            of.setdefault(each.buckets, []).append(f"`{each.name}`")
    for buckets, names in of.items():
        yield f"| {', '.join(f'{bound:.15g}' for bound in buckets)} | {', '.join(names)} |"


def rewrite(guide: str) -> str:
    """The guide with today's tables. Raises ValueError where it does not say where they belong."""
    before, begin, rest = guide.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the guide does not say where the tables of metrics belong")
    return f"{before}{BEGIN}\n{make_tables(Metrics().declared)}\n{END}{after}"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else GUIDE
    path.write_text(rewrite(path.read_text()))


if __name__ == "__main__":
    main()
