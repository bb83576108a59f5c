"""Draw every dashboard with what a running Prometheus answers, by Grafana's own panels, into PNG files.

`make screenshots PROMETHEUS=http://127.0.0.1:9090` writes docs/dashboards/. A panel with no data is said to be so.
"""

import argparse
import asyncio
import io
import json
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deploy.grafana.queries import FOLDER
from deploy.grafana.render.answers import PrometheusError, Span, ask_board
from deploy.grafana.render.built_page import BuildError, build_page, put, serving
from deploy.grafana.render.chromium import ChromiumError, Page, chromium_page

WIDTH = 1600
FIRST_HEIGHT = 900
DRAWN_S = 120
REST_S = 5
# What the page says where it could not begin; "" where it did.
THROWN = "document.querySelector('body > [data-problem]')?.textContent ?? ''"
COLOURS = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """A panel as it stands on the page; `marks`: lines, values or rows that were drawn."""

    id: int
    kind: str
    title: str
    marks: int
    problem: str

    @property
    def drawn(self) -> bool:
        return self.marks > 0 and not self.problem


@dataclass(frozen=True, slots=True)
class Shot:
    """A dashboard that was drawn. `problem`: why it is not whole, where that is not one panel's."""

    uid: str
    panels: tuple[Seen, ...]
    problem: str
    png: bytes


async def shoot(built: Path, boards: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Shot]:
    """Draw each dashboard (by its uid: its JSON, and what was answered) on the page that is `built`."""
    for uid, (board, answers) in boards.items():
        put(built, uid, board, answers)
    with serving(built) as address:
        async with chromium_page() as page:
            return [await shoot_one(page, f"{address}/?board={uid}", uid) for uid in boards]


async def shoot_one(page: Page, url: str, uid: str) -> Shot:
    await page.resize(WIDTH, FIRST_HEIGHT)
    await page.open(url)
    panels = await wait_until_drawn(page)
    await page.resize(WIDTH, await page.value("document.getElementById('page').scrollHeight"))
    await page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return Shot(uid, panels, await page.value(THROWN), compress(await page.png()))


async def wait_until_drawn(page: Page) -> tuple[Seen, ...]:
    """The panels, once all are drawn; as they are where one is not, a while after the page has come to rest."""
    began = time.monotonic()
    rested = None
    while True:
        panels = tuple(Seen(**each) for each in await page.value("window.inspect?.() ?? []"))
        if await page.value("window.settled?.() ?? false") or await page.value(THROWN):
            rested = rested or time.monotonic()
            if all(panel.drawn for panel in panels) or time.monotonic() - rested > REST_S:
                return panels
        if time.monotonic() - began > DRAWN_S:
            return panels
        await asyncio.sleep(0.1)


def compress(png: bytes) -> bytes:
    """A third of the size, in the colours that dashboards have."""
    with Image.open(io.BytesIO(png)) as image:
        few = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    written = io.BytesIO()
    few.save(written, "PNG", optimize=True)
    return written.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--minutes", type=int, default=15, help="the time shown, up to now (%(default)s)")
    parser.add_argument("--window", default="1m", help="what rates are over (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Chromium is ended then, too
    span = Span.last(60 * args.minutes, args.window)
    try:
        boards = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
        asked = {uid: (board, ask_board(args.prometheus, board, span)) for uid, board in boards.items()}
        with tempfile.TemporaryDirectory(prefix="fovea-page-") as folder:
            build_page(Path(folder))
            shots = asyncio.run(shoot(Path(folder), asked))
    except (PrometheusError, ChromiumError, BuildError) as problem:
        print(f"screenshots: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    args.out.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        (args.out / f"{shot.uid}.png").write_bytes(shot.png)
        print(f"{args.out / shot.uid}.png: {len(shot.panels)} panels, {len(shot.png) / 1000:.0f} kB {shot.problem}")
        for panel in shot.panels:
            if not panel.drawn:
                print(f"  {panel.title}: {panel.problem or 'nothing was drawn'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
