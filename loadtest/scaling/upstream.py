"""The engines of the benchmark of growth: the stub of `loadtest/gateway` at many ports, in one process.

Pictures are fetched from it, too. Its streams have no pace and no end: at each port they get tokens when the
benchmark asks for some (`GO`), so many a second whatever the number of streams, each in its turn. What a gateway
reads at once is then the same for all.
"""

import asyncio
import json
import sys
from functools import partial

import uvloop

from loadtest.gateway import stub
from loadtest.gateway.stub import ANSWER, STREAM_HEAD, Pace, event, whole
from loadtest.scaling.bodies import PICTURES, make_picture

GO = b"/go"
# Together: so many streams have a token when a gateway's loop comes round.
AT_ONCE, TICK_S = 10, 0.005
# As a prompt of the benchmark's length has, so that a gateway learns from it what a token is.
USAGE = {"prompt_tokens": 60, "completion_tokens": 3, "total_tokens": 63}
REPLY = whole(ANSWER | {"usage": USAGE})
KEPT = b"image/png\r\ncache-control: max-age=3600"


class Connection(stub.Connection):
    """Of the stub's ways, all but those that take time."""

    def __init__(self, rota: "Rota") -> None:
        super().__init__(rota)
        self._rota = rota

    def _answer(self) -> None:
        start, path = self._start, self._path
        if path == GO:
            self._path = b""
            self._rota.go(int(start), self)
        elif b'"stream":true' in start:
            self._path = b""
            self._send(STREAM_HEAD)
            self._rota.streams.append(self)
        elif path.startswith(PICTURES):
            self._path = b""
            self._send(whole(make_picture(int(path.removeprefix(PICTURES))), KEPT))
        elif path in stub.REPLIES:
            super()._answer()
        else:
            self._path = b""
            self._send(REPLY)

    def token(self, data: bytes) -> bool:
        self._send(data)
        return not self._transport.is_closing()

    def say_done(self) -> None:
        self._send(whole({}))


class Rota(Pace):
    """The streams of one port; each has the next token when all others have had one."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0

    def go(self, tokens: int, asker: Connection) -> None:
        """Says so to `asker` when as many have been sent. At least one stream is there, or none are sent."""
        data = event(tokens)
        for _ in range(min(tokens, AT_ONCE) if self.streams else 0):
            self._next = (self._next + 1) % len(self.streams)
            self.streams[self._next].token(data)
        if tokens > AT_ONCE and self.streams:
            asyncio.get_running_loop().call_later(TICK_S, self.go, tokens - AT_ONCE, asker)
        else:
            asker.say_done()


async def serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(partial(Connection, Rota()), "127.0.0.1", 0) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
