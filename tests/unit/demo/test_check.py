from demo.check import NEEDED, group, table
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.suite import SightSuite


def test_answers_are_grouped_by_skill_and_by_topic_where_there_are_several() -> None:
    suite = SightSuite(SKILLS, ("easy",), 8)
    items = [suite.item(key) for key in suite.keys]
    answers = ["nonsense" if item.skill == "ocr" else item.truth.value for item in items]
    groups = group(items, answers)
    assert {name: len(marks) for name, marks in groups.items() if name in SKILLS} == dict.fromkeys(SKILLS, 8)
    assert {"attribute: colour", "attribute: shape", "ground: box", "ground: point"} <= groups.keys()
    assert "ocr: number" not in groups
    assert len(groups["ground: box"]) + len(groups["ground: point"]) == 8
    rows = table(groups).splitlines()
    assert "| ocr | 0 | 8 | 0.0% | 0.0% - 32.4% | 90% |" in rows
    assert any(row.startswith("| count | 8 | 8 | 100.0% |") for row in rows)


def test_every_skill_has_a_mark_to_reach() -> None:
    assert NEEDED.keys() == set(SKILLS)
