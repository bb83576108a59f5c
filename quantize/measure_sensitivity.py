"""The part of `fovea-quantize sensitivity` that needs torch, in its own process and environment.

`python -m quantize.measure_sensitivity` reads a job (JSON) from stdin and prints one JSON line for each kind of
module: first a line that names the kinds, then a result as soon as it is there.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import IO, Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from quantize.rounding import rounded
from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: E402  (it imports torchvision)

MOST_ANSWER_TOKENS = 32
WEIGHTED = (nn.Linear, nn.Embedding, nn.Conv2d, nn.Conv3d)


class Subject:
    """The model and its calibration pictures: what it makes of them as it is now."""

    def __init__(self, folder: Path, pictures: list[Path], question: str) -> None:
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.inputs = [self._inputs(path, question) for path in pictures]
        self.answers = [self._answer(inputs) for inputs in self.inputs]

    def kinds(self) -> dict[str, list[str]]:
        """Modules with a weight matrix, by their name without its layer numbers."""
        grouped: dict[str, list[str]] = {}
        for name, module in self.model.named_modules():
            if isinstance(module, WEIGHTED):
                grouped.setdefault(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name), []).append(name)
        return grouped

    def embeddings(self) -> list[Tensor]:
        """Of each picture, float32 [image tokens, width]."""
        found = []
        for inputs in self.inputs:
            wanted = inspect.signature(self.model.get_image_features).parameters
            given = {name: value for name, value in inputs.items() if name in wanted and name != "input_ids"}
            with torch.no_grad():
                features = self.model.get_image_features(**given)
            features = getattr(features, "pooler_output", features)
            tokens = torch.cat(list(features)) if isinstance(features, list | tuple) else features
            found.append(tokens.flatten(0, -2).float().cpu())
        return found

    def answer_logits(self) -> list[Tensor]:
        """Of each picture, float32 [answer tokens, vocabulary], forced along the unchanged model's own answer."""
        found = []
        for inputs, answer in zip(self.inputs, self.answers, strict=True):
            extended = dict(inputs)
            extended["input_ids"] = torch.cat([inputs["input_ids"], answer[None]], dim=1)
            for name in ("attention_mask", "mm_token_type_ids", "token_type_ids"):
                if name in inputs:
                    fill = torch.full_like(answer[None], 1 if name == "attention_mask" else 0)
                    extended[name] = torch.cat([inputs[name], fill], dim=1)
            with torch.no_grad():
                logits = self.model(**extended).logits[0]
            found.append(logits[-len(answer) - 1 : -1].float().cpu())
        return found

    def _inputs(self, path: Path, question: str) -> dict[str, Tensor]:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        with Image.open(path) as image:
            inputs = self.processor(text=[text], images=[image.convert("RGB")], return_tensors="pt")
        return {name: value.to(self.device) for name, value in inputs.items()}

    def _answer(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            said = self.model.generate(**inputs, max_new_tokens=MOST_ANSWER_TOKENS, do_sample=False)
        return said[0, inputs["input_ids"].shape[1] :]


def compare(before: list[Tensor], after: list[Tensor]) -> dict[str, float | None]:
    """Mean cosine over tokens, and the signal-to-noise ratio in dB (None: bit-identical)."""
    one, other = torch.cat(before), torch.cat(after)
    noise = (one - other).square().sum().item()
    ratio = 10 * torch.log10(one.square().sum() / noise).item() if noise else None
    return {"cosine": F.cosine_similarity(one, other, dim=-1).mean().item(), "snr_db": ratio}


def compare_answers(before: list[Tensor], after: list[Tensor]) -> dict[str, float]:
    """Mean KL divergence (nats a token) and the share of answers of which greedy decoding changes a token."""
    divergences, changed = [], 0
    for one, other in zip(before, after, strict=True):
        kept, moved = F.log_softmax(one, -1), F.log_softmax(other, -1)
        divergences.append((kept.exp() * (kept - moved)).sum(-1).mean().item())
        changed += bool((one.argmax(-1) != other.argmax(-1)).any())
    return {"kl": max(0.0, sum(divergences) / len(divergences)), "changed": changed / len(before)}


def measure(job: dict[str, Any], report: IO[str]) -> None:
    """Write one line for the kinds and one for each of them that is not done yet."""

    def say(entry: dict[str, Any]) -> None:
        report.write(json.dumps(entry) + "\n")
        report.flush()

    subject = Subject(Path(job["model"]), [Path(path) for path in job["pictures"]], job["question"])
    kinds = subject.kinds()
    say({"kinds": list(kinds), "device": str(subject.device)})
    embeddings, logits = subject.embeddings(), subject.answer_logits()
    modules = dict(subject.model.named_modules())
    for kind, names in kinds.items():
        if kind in job["done"]:
            continue
        weights = list({id(modules[name].weight): modules[name].weight for name in names}.values())
        originals = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight in weights:
                weight.copy_(rounded(weight, job["scheme"]))
        result = {
            "kind": kind,
            "modules": len(names),
            "parameters": sum(weight.numel() for weight in weights),
            **compare(embeddings, subject.embeddings()),
            **compare_answers(logits, subject.answer_logits()),
        }
        say(result)
        with torch.no_grad():
            for weight, original in zip(weights, originals, strict=True):
                weight.copy_(original)


if __name__ == "__main__":
    own, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not mix with the results
    measure(json.load(sys.stdin), own)
