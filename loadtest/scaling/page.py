"""docs/benchmarks/scaling.md, out of what was measured."""

from collections.abc import Iterable

from loadtest.scaling.about import ABOUT, TOGETHER
from loadtest.scaling.result import BOUND, Growth, Result


def make_page(result: Result) -> str:
    return "\n".join(
        [
            "# What grows with what",
            "",
            f"*Written by `make bench-scaling` (`{result.command}`), {result.date}, {result.machine}.*",
            f"*{', '.join(f'{name} {number}' for name, number in result.versions.items())}; "
            f"{result.took_s:.0f} s; others had {result.others:.0%} of a CPU meanwhile.*",
            "",
            "| asked | measured | |",
            "| --- | --- | --- |",
            verdict(result.growths),
            "",
            "Microseconds of CPU, user and kernel, medians. Of requests, tokens and looks: of the gateway's",
            "process, as users run it, in front of stubs; of embeddings: of the thread that does it. The sizes of",
            f"a thing take turns block by block, {result.rounds} rounds at most; the ratio is of the largest to",
            "the smallest within a round: median (least to largest). [Raw data](scaling.json).",
            "",
            *table(result.growths),
            "",
            *named(result.growths),
            "## What is as much as there are",
            "",
            "Of each of these one costs the same however many there are; all of them are looked at:",
            "",
            *(f"- {each}" for each in TOGETHER),
            "",
            *memory(result.growths),
        ]
    )


def is_named(growth: Growth) -> bool:
    return not growth.is_flat and bool(ABOUT[growth.name].named)


def word_of(growth: Growth) -> str:
    return "flat" if growth.is_flat else "named" if is_named(growth) else "**grows**"


def verdict(growths: Iterable[Growth]) -> str:
    words = [word_of(each) for each in growths]
    flat, known = words.count("flat"), words.count("named")
    told = f"{flat} flat, {known} named, {len(words) - flat - known} neither, of {len(words)}"
    met = "met" if flat + known == len(words) else "missed"
    return f"| every cost is flat (at most {BOUND} x) at the largest size, or named | {told} | {met} |"


def table(growths: Iterable[Growth]) -> list[str]:
    lines = ["| as there are | cost of | µs | ratio | |", "| --- | --- | ---: | ---: | --- |"]
    for each in growths:
        about = ABOUT[each.name]
        sizes = ", ".join(f"{size:,}" for size in each.sizes)
        costs = ", ".join(f"{each.cost_us(index):,.1f}" for index in range(len(each.sizes)))
        spread = f"{each.ratio():.2f} ({each.ratios(-1)[0]:.2f} to {each.ratios(-1)[-1]:.2f})"
        lines.append(f"| {sizes} {about.thing} | {about.cost} | {costs} | {spread} | {word_of(each)} |")
    return lines


def named(growths: Iterable[Growth]) -> list[str]:
    grown = [each for each in growths if is_named(each)]
    if not grown:
        return []
    lines = [f"- {ABOUT[each.name].thing}: {ABOUT[each.name].named}." for each in grown]
    return ["## What grows, and why", "", *lines, ""]


def memory(growths: Iterable[Growth]) -> list[str]:
    known = [each for each in growths if each.kb_each is not None]
    if not known:
        return []
    lines = [
        "## Memory of the gateway",
        "",
        "Resident, at the end, at each of the sizes; and what one more takes, between the least and the largest.",
        "Pictures that are kept are bounded in bytes (`images.rendition_cache`, `images.fetch_cache`), what is",
        "remembered of those that engines hold in number, connections by `http.max_connections`, requests in line",
        "by `admission.max_waiting`, keys by the file.",
        "",
        "| as there are | MB | one more, KB |",
        "| --- | ---: | ---: |",
    ]
    for each in known:
        resident = ", ".join(f"{mb:.0f}" for mb in each.resident_mb)
        lines.append(f"| {ABOUT[each.name].thing} | {resident} | {each.kb_each:.2f} |")
    return [*lines, ""]
