"""The lesson as a page: docs/lesson.md with its table, its plot (SVG) and its example pictures."""

import math
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quantize.evaluate.report import Group, Report
from quantize.evaluate.suite import Item

HEADINGS = {
    "bf16": "BF16: nothing quantized",
    "fp8-dynamic": "FP8-dynamic: language only (real)",
    "fp8-everything": "FP8 everything",
    "int8-everything": "INT8 everything",
    "int4-language": "4-bit language, vision kept",
    "int4-vision": "4-bit vision, language kept",
    "int4-everything": "4-bit everything",
    "int4-weights": "4-bit everything, weights alone",
    "int2-language-weights": "2-bit language, weights alone",
    "int2-vision-weights": "2-bit vision, weights alone",
}
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 420, 60, 50
LEAST_WRONG = 0.005  # the share of wrong answers at the top of the plot


@dataclass(frozen=True, slots=True)
class Measured:
    """One variant against the base."""

    name: str
    weight_bytes: int
    report: Report
    breaches: list[str]

    @property
    def heading(self) -> str:
        return HEADINGS[self.name]

    def group(self, skill: str) -> Group:
        return next(group for group in self.report.groups if group.skill == skill)

    @property
    def mistakes(self) -> tuple[int, int]:
        """Questions not answered right, and how many of them got one definite answer all the same."""
        outcomes = [group.candidate.outcomes for group in self.report.groups]
        definite = sum(each.get("wrong", 0) for each in outcomes)
        return sum(sum(each.values()) - each.get("right", 0) for each in outcomes), definite

    @property
    def accuracy(self) -> float:
        """Over all questions of all skills."""
        right = sum(group.candidate.right for group in self.report.groups)
        return right / sum(group.asked for group in self.report.groups)


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that the base reads; `confidence` is the probability of the variant's whole wrong answer."""

    item: Item
    right: str
    wrong: str
    confidence: float


def write_lesson(measured: list[Measured], examples: list[Example], questions: int, docs: Path) -> None:
    """lesson.md, lesson/accuracy.svg and lesson/example-N.png|jpg below `docs`."""
    folder = docs / "lesson"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("example-*"):
        old.unlink()
    pictures = []
    for number, example in enumerate(examples, 1):
        suffix = example.item.media_type.removeprefix("image/").replace("jpeg", "jpg")
        path = folder / f"example-{number}.{suffix}"
        path.write_bytes(example.item.data)
        pictures.append((f"lesson/{path.name}", example))
    skills = [group.skill for group in measured[0].report.groups]
    (folder / "accuracy.svg").write_text(plot(measured))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  (Markdown, of our own figures)
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.md.jinja").render(
        measured={each.name: each for each in measured}, skills=skills, pictures=pictures, questions=questions
    )
    (docs / "lesson.md").write_text(page)


def plot(measured: list[Measured]) -> str:
    """Accuracy over all skills against the bytes of the weights, one labelled point a variant.

    Upwards the share of wrong answers shrinks by equal factors, so that small losses and ruin fit on one page.
    """
    largest = max(each.weight_bytes for each in measured) * 1.08
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">weights, MB</text>',
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">'
        "right answers, all skills</text>",
    ]

    def across(size: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * size / largest

    def down(share: float) -> float:
        wrong = math.log(max(1 - share, LEAST_WRONG))
        return 20 + (HEIGHT - BOTTOM - 20) * (wrong / math.log(LEAST_WRONG) * -1 + 1)

    for share in (0.99, 0.98, 0.95, 0.9, 0.8, 0.5, 0.0):
        lines.append(f'<path d="M{LEFT} {down(share):.1f}H{WIDTH - 20}" stroke="#dde2ea"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{down(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for megabytes in range(0, int(largest / 1e6) + 1, 2):
        at = f'x="{across(megabytes * 1e6):.1f}" y="{HEIGHT - BOTTOM + 22}"'
        lines.append(f'<text {at} text-anchor="middle">{megabytes}</text>')
    taken: list[tuple[float, float]] = []
    for each in sorted(measured, key=lambda each: -each.accuracy):
        x, y = across(each.weight_bytes), down(each.accuracy)
        colour = "#b4231f" if each.breaches else "#19713d"
        label = y + 4
        while any(abs(label - other) < 15 and abs(x - at) < 130 for at, other in taken):
            label += 15
        taken.append((x, label))
        side = -1 if x > WIDTH * 0.8 else 1
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        if label > y + 4:
            lines.append(f'<path d="M{x:.1f} {y:.1f}L{x + side * 22:.1f} {label - 4:.1f}" stroke="{colour}"/>')
        lines.append(
            f'<text x="{x + side * (10 if label == y + 4 else 25):.1f}" y="{label:.1f}" fill="{colour}" '
            f'text-anchor="{"end" if side < 0 else "start"}">{each.name}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"
