"""Prometheus' text format, as far as cheap instruments write it themselves: a scrape holds up the event loop, and
prometheus_client takes ten microseconds a series."""

from collections.abc import Sequence


def head(name: str, kind: str, documentation: str) -> str:
    """What stands before a family's series."""
    escaped = documentation.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


def series(name: str, labels: Sequence[str], values: Sequence[str]) -> str:
    """A series' name, with its labels in order of their names, as prometheus_client writes them."""
    if not labels:
        return name
    pairs = sorted(zip(labels, values, strict=True))
    return f"{name}{{{','.join(f'{label}={quote(value)}' for label, value in pairs)}}}"


def quote(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'"{escaped}"'
