"""The overview as a person reads it in a terminal: the last stage of `fovea top`."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.printable import printable
from server.top.overview import EngineView, Latency, Overview, Traffic

UNKNOWN = "-"
BAR = 5  # characters
MOST_CHARACTERS = 400  # of a name, a line
FULL, BUSY = 0.9, 0.7


def screen_of(overview: Overview, of: str) -> RenderableType:
    """At most 80 columns wide, where names are short."""
    parts: list[RenderableType] = [headline(overview, of)]
    traffic = overview.traffic
    if traffic is not None:
        parts += traffic_lines(traffic)
    if overview.engines:
        parts.append(engine_table(overview))
    for engine in overview.engines:
        parts += engine_lines(engine)
    if traffic is not None:
        parts += counts("embeddings of pictures", traffic.embeddings)
        parts += counts("refused", traffic.rejections)
    return Group(*parts)


def headline(overview: Overview, of: str) -> Text:
    if overview.trouble:
        return shown(f"{of}: {overview.trouble}", "bold red")
    version = f" {overview.version}" if overview.version else ""
    return shown(f"fovea{version} at {of}, the last {overview.seconds:.0f} s", "bold")


def traffic_lines(traffic: Traffic) -> list[Text]:
    waiting = listed({name: many for name, many in traffic.waiting.items() if many}) or "0"
    tokens = f"tokens/s in {number(traffic.prompt_tokens)}, out {number(traffic.answer_tokens)}"
    first_line = Text(f"requests/s {number(traffic.requests)}  refused/s {number(traffic.refused)}  ")
    first_line.append(f"failed/s {number(traffic.failed)}", style="red" if traffic.failed else "")
    first_line.append(f"  images/s {number(traffic.images)}  {tokens}")
    times = f"first token {both(traffic.first_token)}  between tokens {both(traffic.between_tokens)}  (p50/p99)"
    return [first_line, shown(f"in flight {number(traffic.in_flight)}  waiting {waiting}"), Text(times)]


def engine_table(overview: Overview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("engine")
    table.add_column("state")
    for column in ("running", "waiting", "KV cache", "tokens/s", "GPU memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in overview.engines:
        table.add_row(
            shown(each.name),
            shown(each.state, "" if each.state in ("ready", "answers") else "red"),
            number(each.running),
            number(each.waiting),
            kv(each),
            number(each.answer_tokens),
            of_bytes(each.gpu_used_bytes, each.gpu_total_bytes),
        )
    return table


def engine_lines(engine: EngineView) -> list[Text]:
    found = [shown(f"{engine.name}: {engine.trouble}", "red")] if engine.trouble else []
    if engine.preemptions:
        found.append(shown(f"{engine.name}: {number(engine.preemptions)} preempted/s", "yellow"))
    return found + counts(f"{engine.name} looked up embeddings", engine.tiers)


def kv(engine: EngineView) -> Text:
    share = engine.kv_share
    if share is None:
        return Text(UNKNOWN)
    filled = round(min(1.0, max(0.0, share)) * BAR)
    style = "red" if share >= FULL else "yellow" if share >= BUSY else "green"
    text = Text("█" * filled + "░" * (BAR - filled), style=style).append(f" {share:4.0%}", style="")
    if engine.kv_used_tokens is not None and engine.kv_capacity_tokens is not None:
        text.append(f" {number(engine.kv_used_tokens)}/{number(engine.kv_capacity_tokens)}", style="dim")
    return text


def counts(title: str, found: Mapping[str, float]) -> list[Text]:
    return [shown(f"{title}: {listed(found)}")] if found else []


def shown(text: str, style: str = "") -> Text:
    """Names come from metrics, which others write."""
    return Text(printable(text, MOST_CHARACTERS), style=style)


def listed(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number(many)}" for name, many in found.items())


def both(latency: Latency) -> str:
    return f"{seconds(latency.half)} / {seconds(latency.most)}"


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def number(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if value >= 10_000:
        return f"{value / 1000:.0f}k" if value < 1_000_000 else f"{value / 1_000_000:.1f}M"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def of_bytes(used: float | None, total: float | None) -> str:
    if used is None or total is None:
        return UNKNOWN
    return f"{used / 2**30:.1f}/{total / 2**30:.0f} GiB"
