"""The page that draws a dashboard, built in the `grafana` environment and served on loopback: of `screenshots`."""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "page"
ENVIRONMENT = Path(__file__).parents[3] / ".venv" / "grafana"
BUILD_S = 300


class BuildError(Exception):
    """The page could not be built; says what vite said."""


def build_page(out: Path) -> None:
    """Write the built page, with Grafana's icons, into the folder `out`. Raises BuildError."""
    if not (ENVIRONMENT / "node_modules").exists():
        raise BuildError("there is no environment grafana: python3 deploy/environments/set_up.py grafana")
    # Sources are looked at beside node_modules, since that is where modules are searched for.
    with tempfile.TemporaryDirectory(prefix="page-", dir=ENVIRONMENT.resolve()) as beside:
        shutil.copytree(SOURCES, beside, dirs_exist_ok=True)
        vite = ENVIRONMENT.resolve() / "node_modules" / "vite" / "bin" / "vite.js"
        command = [str(ENVIRONMENT.resolve() / "bin" / "node"), str(vite), "build", "--outDir", str(out.resolve())]
        done = subprocess.run(
            [*command, "--emptyOutDir"],
            check=False,
            cwd=beside,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_S,
        )
    if done.returncode:
        raise BuildError(done.stdout)
    icons = ENVIRONMENT.resolve() / "node_modules" / "@grafana" / "ui" / "dist" / "public" / "img"
    shutil.copytree(icons, out / "public" / "build" / "img")


def put(out: Path, uid: str, board: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    """Beside the built page: what it shows at `?board=uid`."""
    for kind, content in (("boards", board), ("answers", answers)):
        (out / kind).mkdir(exist_ok=True)
        (out / kind / f"{uid}.json").write_text(json.dumps(content))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is missing shows on the page."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address on loopback at which the folder's files are."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
