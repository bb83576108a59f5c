"""Makes our package importable in vLLM's processes, by its own path: nothing else of ours is on theirs.

Our site-packages or repository on PYTHONPATH could put another version of something in vLLM's way.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SERVER = Path(__file__).resolve().parent.parent.parent


def make_ours_importable() -> None:
    """`server` from here on, where nobody has imported it yet. Raises ImportError where it is somebody else's."""
    known = sys.modules.get("server")
    if known is None:
        spec = spec_from_file_location("server", SERVER / "__init__.py", submodule_search_locations=[str(SERVER)])
        if spec is None or spec.loader is None:
            raise ImportError(f"{SERVER} is no package")
        known = sys.modules["server"] = module_from_spec(spec)
        spec.loader.exec_module(known)
    if str(SERVER) not in map(str, getattr(known, "__path__", ())):
        raise ImportError("another package is called server here")
