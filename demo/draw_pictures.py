"""Draws the bundled pictures anew: `python -m demo.draw_pictures` (the same bytes for the same Pillow)."""

import json
import random
from pathlib import Path

from demo import scenes

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    photo = scenes.draw_scene(random.Random("photo"), (480, 360), photo=True, count=4)
    photo.image.save(PICTURES / "table.jpg", quality=88)
    flat = scenes.draw_scene(random.Random("flat"), (320, 320), photo=False, count=3)
    flat.image.save(PICTURES / "shapes.png")
    small = scenes.draw_scene(random.Random("small"), (160, 128), photo=False, count=6)
    small.image.save(PICTURES / "thumbnail.png")
    lone = next(t for t in flat.things if sum(t.shape == o.shape for o in flat.things) == 1)
    questions = [
        ("table.jpg", "What is in this picture?", scenes.describe(photo)),
        ("shapes.png", f"What colour is the {lone.shape}?", lone.colour),
        ("thumbnail.png", "How many objects are there?", str(len(small.things))),
    ]
    entries = [{"picture": name, "question": asked, "answer": answer} for name, asked, answer in questions]
    (PICTURES / "questions.json").write_text(json.dumps(entries, indent=2) + "\n")


if __name__ == "__main__":
    main()
