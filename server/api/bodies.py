"""Bodies into requests where it stalls nobody: small ones at once, large ones in threads of their own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from server.api.splice import Parse, parse_around_pictures
from server.domain import ParsedRequest, Raw

# Up to here parsing takes about a millisecond at most, whatever is in the body; a thread costs a tenth of one, and
# more where CPUs are busy.
LEAST_BYTES = 128 * 1024
THREADS = 2


class BodyParser:
    """Own threads: those for images may all be taken by rasters, asyncio's by names that are looked up."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="body")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def parse(self, parse: Parse, raw: Raw) -> ParsedRequest:
        """Raises what `parse` does."""
        if len(raw) < LEAST_BYTES:
            return parse_around_pictures(parse, raw)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, parse_around_pictures, parse, raw)
