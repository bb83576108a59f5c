"""One page in headless Chromium, over its DevTools protocol: what `screenshots` looks with.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[3]
UNPACKED = ROOT / ".venv" / "programs"
START_S = 60
ANSWER_S = 120
LARGEST_MESSAGE = 64 << 20
# Nothing is asked of any network but the page that is named.
OPTIONS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # in containers /dev/shm is small
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


class ChromiumError(Exception):
    """Chromium is not there, did not start, or a page of it threw."""


def find_chromium() -> Path | None:
    """On the PATH, or where the set-up unpacked it."""
    unpacked = UNPACKED / "usr" / "lib" / "chromium" / "chromium"
    if installed := shutil.which("chromium"):
        return Path(installed)
    return unpacked if unpacked.exists() else None


class Page:
    """What is shown; one command at a time."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        try:
            async with asyncio.timeout(ANSWER_S):
                message = await self._answer(self._number)
        except TimeoutError:
            raise ChromiumError(f"{method}: no answer within {ANSWER_S} s") from None
        if "error" in message:
            raise ChromiumError(f"{method}: {message['error']}")
        return dict(message["result"])

    async def _answer(self, number: int) -> dict[str, Any]:
        """Events that come between are nobody's."""
        while True:
            received = await self._socket.receive()
            if received.type is not aiohttp.WSMsgType.TEXT:
                raise ChromiumError("chromium has gone")
            message: dict[str, Any] = json.loads(received.data)
            if message.get("id") == number:
                return message

    async def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.command("Emulation.setDeviceMetricsOverride", **size)

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to, promises waited for. Raises ChromiumError where it throws."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = await self.command("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise ChromiumError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def png(self) -> bytes:
        return base64.b64decode((await self.command("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def chromium_page() -> AsyncIterator[Page]:
    """A Chromium of its own with a new profile, gone afterwards."""
    program = find_chromium()
    if program is None:
        raise ChromiumError("there is no chromium: python3 deploy/environments/set_up.py chromium")
    with tempfile.TemporaryDirectory(prefix="fovea-chromium-", ignore_cleanup_errors=True) as profile:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            program,
            *OPTIONS,
            *sandbox,
            f"--user-data-dir={profile}",
            "about:blank",
            env=_environ(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    pages = [each for each in await response.json() if each["type"] == "page"]
                address = pages[0]["webSocketDebuggerUrl"]
                async with session.ws_connect(address, max_msg_size=LARGEST_MESSAGE) as socket:
                    yield Page(socket)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _port(written: Path, process: asyncio.subprocess.Process) -> int:
    """Chromium writes it down once it listens."""
    async with asyncio.timeout(START_S):
        while (port := _first_line(written)) is None:
            if process.returncode is not None:
                raise ChromiumError(f"chromium ended with {process.returncode} before it listened")
            await asyncio.sleep(0.05)
    return int(port)


def _first_line(path: Path) -> str | None:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return lines[0] if lines and lines[0].endswith("\n") else None


def _environ() -> dict[str, str]:
    """Unpacked libraries are found, too; there is no desktop to talk to."""
    libraries = [str(path) for path in sorted(UNPACKED.glob("usr/lib/*-linux-gnu"))]
    libraries += [str(path) for path in sorted(UNPACKED.glob("usr/lib/*-linux-gnu/pulseaudio"))]
    found = os.environ.get("LD_LIBRARY_PATH")
    paths = [*libraries, *([found] if found else [])]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(paths), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
