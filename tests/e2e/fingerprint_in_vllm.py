"""Fingerprints of checkpoints as vLLM is configured for them: `python -m tests.e2e.fingerprint_in_vllm FOLDER...`.

Runs where vLLM is; prints one JSON object, by folder.
"""

import json
import sys

from vllm.engine.arg_utils import EngineArgs

from server.engine.encoder_cache.engine_parts import fingerprint_of_engine


def main() -> None:
    found = {}
    for folder in sys.argv[1:]:
        config = EngineArgs(model=folder, enforce_eager=True, max_model_len=1024).create_engine_config()
        found[folder] = dict(fingerprint_of_engine(config).parts)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
