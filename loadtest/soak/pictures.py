"""The host of the soak's pictures, a process of its own: one under every number, none under any other name."""

import asyncio
import sys

import uvloop
from aiohttp import web

from loadtest.soak.mix import draw_picture

KEPT = {"cache-control": "max-age=3600"}


async def show(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if not name.isdigit():
        return web.Response(status=404)
    return web.Response(body=draw_picture(int(name)), content_type="image/png", headers=KEPT)


async def serve() -> None:
    app = web.Application()
    app.router.add_get("/{name}", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    # For as long as who started it is there.
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
