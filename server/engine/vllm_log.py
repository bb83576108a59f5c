"""Our log lines go where vLLM's go: its processes have loggers of their own, and ours speak through them."""

import logging


def speak_through_vllm(*names: str) -> None:
    theirs = logging.getLogger("vllm")
    for name in names:
        ours = logging.getLogger(name)
        ours.handlers, ours.propagate = theirs.handlers, False
        ours.setLevel(theirs.level or logging.INFO)
