"""Draws the bundled pictures anew: `python -m demo.draw_pictures` (the same bytes for the same Pillow)."""

import json
import random
from pathlib import Path
from typing import Any

from quantize.evaluate import questions as ask
from quantize.evaluate import scenes
from quantize.evaluate.questions import Question

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    photo = scenes.draw_scattered(random.Random("photo"), size=(480, 360), photo=True, count=4, distinct=True)
    photo.image.save(PICTURES / "table.jpg", quality=88)
    flat = scenes.draw_scattered(random.Random("flat"), size=(320, 320), photo=False, count=3, distinct=True)
    flat.image.save(PICTURES / "shapes.png")
    small = scenes.draw_scattered(random.Random("small"), size=(128, 128), photo=False, count=6)
    small.image.save(PICTURES / "thumbnail.png")
    number = scenes.draw_number(random.Random("plate"), size=(400, 240), photo=True)
    number.image.save(PICTURES / "number.jpg", quality=70)
    grid = scenes.draw_grid(random.Random("table"), size=(300, 300), photo=False)
    grid.image.save(PICTURES / "grid.png")
    rng = random.Random("questions")
    asked = {
        "table.jpg": ask.ask_point(photo, rng),
        "thumbnail.png": ask.ask_count(small),
        "shapes.png": ask.ask_side(flat, rng),
        "grid.png": ask.ask_cell(grid, rng),
        "number.jpg": ask.ask_number(number),
    }
    lines = [line_about(name, question) for name, question in asked.items() if question]
    (PICTURES / "questions.jsonl").write_text("\n".join(lines) + "\n")


def line_about(picture: str, question: Question) -> str:
    """One line of the file that `fovea-quantize evaluate --questions` takes."""
    truth = question.truth
    line: dict[str, Any] = {"image": picture, "skill": question.skill, "question": question.text}
    if truth.box:
        line |= {"kind": truth.kind, "box": [round(edge) for edge in truth.box]}
    else:
        line |= {"kind": "number" if truth.kind == "number" else "text", "answer": truth.value}
    return json.dumps(line)


if __name__ == "__main__":
    main()
