"""`fovea cache fingerprint`: what a checkpoint sees with, part by part; two that differ show where."""

import json
import os
from typing import Annotated

import typer

from server.cli_cache_folder import JsonOption, refuse, say
from server.engine.encoder_cache.checkpoint import NoFingerprint, find_checkpoint
from server.engine.encoder_cache.fingerprint import vision_fingerprint


def fingerprint(
    model: Annotated[str, typer.Argument(help="Checkpoint folder, or ORG/NAME as the hub's cache has it.")],
    dtype: Annotated[str, typer.Option(help="What the engine computes in.")] = "bfloat16",
    as_json: JsonOption = False,
) -> None:
    """Print what a checkpoint sees with: under the same engines, two that print the same share their embeddings.

    An engine's namespace has its vLLM and its options besides; it logs the first 12 digits when it starts.
    """
    try:
        found = vision_fingerprint(find_checkpoint(model, os.environ), dtype, {})
    except (NoFingerprint, OSError) as problem:
        refuse(str(problem))
    if as_json:
        say(json.dumps({"fingerprint": found.hex, "parts": dict(found.parts)}, indent=2))
        return
    width = max(map(len, found.parts))
    say("\n".join([found.hex, *(f"  {name:<{width}}  {part}" for name, part in found.parts.items())]))
