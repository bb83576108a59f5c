"""What it costs to keep embeddings in FP8: `.venv/quantize/bin/python -m demo.embeddings_in_fp8 [QUESTIONS]`.

Asks the bundled model the sight suite's questions twice, with its pictures' embeddings as they are and as they come
back from row_fp8, and says how far those are off. docs/operating.md states what it printed.
"""

import io
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from quantize.evaluate.questions import SKILLS
from quantize.evaluate.score import mark
from quantize.evaluate.suite import Item, SightSuite
from quantize.torchvision_on_cpu import allow_torchvision
from server.engine.encoder_cache.row_fp8 import restore, squeeze

allow_torchvision()
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402  (it imports torchvision)

MODEL = Path(__file__).parent / "model"
PICTURES = Path(__file__).parent / "pictures"
MOST_ANSWER_TOKENS = 32


class Eyes:
    """The model, whose embeddings pass through `change` on their way to the language model. `seen` are the last."""

    def __init__(self, folder: Path) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto").eval()
        self.change: Callable[[Any], Any] = lambda tensor: tensor
        self.seen: list[Any] = []
        self._see = self.model.model.get_image_features
        self.model.model.get_image_features = self._features

    def _features(self, *given: Any, **named: Any) -> Any:
        features = self._see(*given, **named)
        self.seen = list(features.pooler_output)
        features.pooler_output = tuple(self.change(tensor) for tensor in self.seen)
        return features

    def answer(self, picture: Image.Image, question: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self.processor(text=[text], images=[picture.convert("RGB")], return_tensors="pt")
        with torch.no_grad():
            said = self.model.generate(**inputs, max_new_tokens=MOST_ANSWER_TOKENS, do_sample=False)
        tokens = said[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def there_and_back(tensor: Any) -> Any:
    squeezed = squeeze(tensor)
    return tensor if squeezed is None else restore(squeezed, tuple(tensor.shape), tensor.dtype)


def off_by(tensors: list[Any]) -> tuple[float, float]:
    """Relative RMS over all elements, and the element that is furthest off, as a share of its row's largest."""
    noise = power = worst = 0.0
    for tensor in tensors:
        exact = tensor.float()
        error = (there_and_back(tensor).float() - exact).abs()
        noise += error.square().sum().item()
        power += exact.square().sum().item()
        worst = max(worst, (error.amax(1) / exact.abs().amax(1)).max().item())
    return (noise / power) ** 0.5, worst


def ask(eyes: Eyes, item: Item, picture: Image.Image, marks: Counter[str]) -> list[Any]:
    """Adds to `marks`; gives the picture's embeddings."""
    answers = []
    for name, change in (("raw", lambda tensor: tensor), ("fp8", there_and_back)):
        eyes.change = change
        answers.append(eyes.answer(picture, item.text))
        marks[name] += mark(answers[-1], item.truth).right
    marks["same"] += answers[0] == answers[1]
    marks["gained"] += mark(answers[1], item.truth).right and not mark(answers[0], item.truth).right
    marks["asked"] += 1
    return eyes.seen


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    eyes, marks, embeddings = Eyes(MODEL), Counter[str](), []
    suite = SightSuite(SKILLS, ("easy",), count)
    for key in suite.keys:
        item = suite.item(key)
        with Image.open(io.BytesIO(item.data)) as picture:
            embeddings += ask(eyes, item, picture, marks)
    own = []
    for path in sorted([*PICTURES.glob("*.png"), *PICTURES.glob("*.jpg")]):
        with Image.open(path) as picture:
            eyes.answer(picture, "What is it?")
            own += eyes.seen
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn((1024, 4096), generator=generator).to(torch.bfloat16)
    heavy = (normal.float() ** 3).to(torch.bfloat16)
    print("| embeddings | relative RMS error | worst element, of its row's largest |\n| --- | ---: | ---: |")
    for name, tensors in (
        ("the bundled pictures", own),
        (f"{marks['asked']} pictures of the sight suite", embeddings),
        ("normally distributed, 1,024 x 4,096", [normal]),
        ("their cubes (few large elements a row)", [heavy]),
    ):
        rms, worst = off_by(tensors)
        print(f"| {name} | {rms:.2%} | {worst:.2%} |")
    print(f"{marks['asked']} questions, {count} a skill: {marks['raw']} right with embeddings as they are,")
    print(f"{marks['fp8']} with FP8 ({marks['gained']} gained); {marks['same']} answers the same")


if __name__ == "__main__":
    main()
