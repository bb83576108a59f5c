"""What the Python programs here share: where the gateway is, what is asked, and how it is told."""

import base64
import hashlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL, KEY, MODEL, *WANTED = sys.argv[1:]
PICTURES = Path(__file__).parents[2] / "demo" / "pictures"
NUMBER, THINGS = PICTURES / "number.jpg", PICTURES / "thumbnail.png"
READ = "What number is written here? Reply with the digits only."
HOW_MANY = "How many objects are there? Reply with one number."
COUNT = "Count the objects. Answer in JSON."


def in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def data_url(path: Path) -> str:
    return f"data:image/{path.suffix[1:].replace('jpg', 'jpeg')};base64,{in_base64(path)}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tell(*steps: Callable[[], Any]) -> None:
    """Run the steps that were asked for, and print what each returned, or what it raised, by its name."""
    told = {}
    for step in steps:
        if step.__name__ in WANTED:
            try:
                told[step.__name__] = step()
            except Exception:  # noqa: BLE001 (what went wrong is the result, and the other steps still count)
                told[step.__name__] = {"raised": traceback.format_exc(limit=-4)}
    print(json.dumps(told))
