"""Bodies into requests where it stalls nobody: small ones at once, and those that are large by a picture alone;
others in threads of their own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from server.api.splice import Parse, parse_around_pictures, parse_pictures_apart
from server.domain import ParsedRequest, Raw
from server.loop_turns import LoopTurns

# Up to here parsing takes about a millisecond at most, whatever is in the body; a thread costs a tenth of one, and
# more where CPUs are busy.
LEAST_BYTES = 128 * 1024
# So much base64 is found and decoded in a tenth of a millisecond.
MOST_AT_ONCE_BYTES = 1024 * 1024
THREADS = 2


class BodyParser:
    """Own threads: those for images may all be taken by rasters, asyncio's by names that are looked up."""

    def __init__(self, turns: LoopTurns) -> None:
        self._turns = turns
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="body")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def parse(self, parse: Parse, raw: Raw) -> ParsedRequest:
        """Raises what `parse` does."""
        if len(raw) < LEAST_BYTES:
            return parse_around_pictures(parse, raw)
        if len(raw) <= MOST_AT_ONCE_BYTES:
            if not self._turns.take_now():
                await self._turns.take()
            request = parse_pictures_apart(parse, raw, most_rest=LEAST_BYTES)
            if request is not None:
                return request
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, parse_around_pictures, parse, raw)
