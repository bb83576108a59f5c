"""Runs in vLLM's Python: `python -m loadtest.gpu.inside_vllm CHECKPOINT JOB` prints one line of JSON.

Prompts are random tokens, never twice the same (nothing of prefix caching); answers have a fixed length. A
batch with answers of one token is prefill; what longer answers take beyond it is decode.
"""

import json
import os
import random
import sys
import time
from typing import Any

import torch
import vllm


def main() -> None:
    folder, job = sys.argv[1], json.loads(sys.argv[2])
    began = time.monotonic()
    model = vllm.LLM(
        model=folder,
        max_model_len=job["context"],
        limit_mm_per_prompt={"image": 0, "video": 0},
        enable_prefix_caching=False,
        enforce_eager=not torch.cuda.is_available(),
    )
    found: dict[str, Any] = {"vllm": vllm.__version__, "start_s": time.monotonic() - began, "batches": []}
    draw = random.Random(0)
    for sequences, prompt, answer in job["served"]:
        times: dict[str, list[float]] = {"first_s": [], "all_s": []}
        for number in range(job["rounds"] + 1):
            first_s = ask(model, draw, job["vocabulary"], sequences, prompt, 1)
            all_s = ask(model, draw, job["vocabulary"], sequences, prompt, answer)
            if number:  # the first warms up
                times["first_s"].append(first_s)
                times["all_s"].append(all_s)
        found["batches"].append({"sequences": sequences, "prompt": prompt, "answer": answer, **times})
    print(json.dumps(found), flush=True)
    os._exit(0)  # vLLM's threads would hold it up


def ask(model: Any, draw: random.Random, vocabulary: int, sequences: int, prompt: int, answer: int) -> float:
    """Seconds until all answers are there."""
    prompts = [
        {"prompt_token_ids": [draw.randrange(16, min(vocabulary, 500)) for _ in range(prompt)]}
        for _ in range(sequences)
    ]
    wish = vllm.SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0, detokenize=False)
    began = time.perf_counter()
    model.generate(prompts, wish, use_tqdm=False)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
