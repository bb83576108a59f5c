from pathlib import Path
from xml.etree import ElementTree

from demo.lesson.page import HEADINGS, Example, Measured, plot, write_lesson
from quantize.evaluate.answers import Reply, Side
from quantize.evaluate.endpoint import Endpoint
from quantize.evaluate.gate import Policy, breaches
from quantize.evaluate.run import make_report
from quantize.evaluate.suite import Item, SightSuite

SUITE = SightSuite(("count", "ocr"), ("easy",), 20)
ITEMS = {key: SUITE.item(key) for key in SUITE.keys}


def measured(name: str, size: int, wrong: int) -> Measured:
    """A variant that answers the first `wrong` questions with a definite, wrong number."""
    replies: dict[tuple[Side, str], Reply] = {}
    for number, (key, item) in enumerate(ITEMS.items()):
        replies["base", key] = Reply(item.truth.value, True)
        replies["candidate", key] = Reply("77777" if number < wrong else item.truth.value, True)
    ends = (Endpoint("base", "", "bf16", ""), Endpoint("candidate", "", name, ""))
    report = make_report(ends, SUITE, replies, ITEMS, "")
    return Measured(name, size, report, breaches(report, Policy(retention={"default": 0.8}, least_questions=10)))


def all_variants() -> list[Measured]:
    return [
        measured(name, 16_000_000 - 1_000_000 * n, 25 if "int4-e" in name else 0) for n, name in enumerate(HEADINGS)
    ]


def test_the_page_holds_every_variant_its_verdict_and_the_examples(tmp_path: Path) -> None:
    item: Item = ITEMS["ocr/easy/0"]
    write_lesson(all_variants(), [Example(item, item.truth.value, "77777", 0.987)], 20, tmp_path)
    page = (tmp_path / "lesson.md").read_text()
    table = page[: page.index("## What the gate says")]
    rows = {line.split("|")[1].strip(): line.split("|") for line in table.splitlines() if line.startswith("| ")}
    for name, heading in HEADINGS.items():
        assert rows[heading][-2].strip() == ("red" if name == "int4-everything" else "green")
    worst = [cell.strip() for cell in rows[HEADINGS["int4-everything"]]]
    assert worst[2:6] == ["10.00", "35.0 %", "40.0 %", "37.5 %"]
    assert "| 4-bit everything | 25 | 25 |" in page
    assert "everywhere 37.5 % of the answers are right, against 100.0 % of the base's" in " ".join(page.split())
    assert "**77777** | 99 % |" in page
    (example,) = (tmp_path / "lesson").glob("example-1.*")
    assert example.read_bytes() == item.data
    assert f'src="lesson/{example.name}"' in page


def test_some_of_the_variants_make_a_page_too(tmp_path: Path) -> None:
    write_lesson(all_variants()[:2], [], 20, tmp_path)
    assert HEADINGS["fp8-dynamic"] in (tmp_path / "lesson.md").read_text()


def test_examples_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / "lesson").mkdir()
    (tmp_path / "lesson" / "example-9.png").write_bytes(b"old")
    write_lesson(all_variants(), [], 20, tmp_path)
    assert list((tmp_path / "lesson").glob("example-*")) == []
    assert "In this run the fully 4-bit model gave no wrong answer" in (tmp_path / "lesson.md").read_text()


def test_the_plot_has_a_point_and_a_label_for_each_variant() -> None:
    drawing = ElementTree.fromstring(plot(all_variants()))
    name = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f"{name}circle")) == len(HEADINGS)
    labels = [text.text for text in drawing.findall(f"{name}text")]
    assert set(HEADINGS) <= set(labels)
    spots = [
        (float(text.attrib["x"]), float(text.attrib["y"]))
        for text in drawing.findall(f"{name}text")
        if text.text in HEADINGS
    ]
    assert len(set(spots)) == len(HEADINGS)
