"""What a machine takes, by themselves, for the things that cannot be left out."""

import io
import socket
import statistics
import threading
import time
from collections.abc import Callable

import pybase64
from blake3 import blake3
from PIL import Image

from loadtest.gateway.result import Yardstick

TIMES = 20
READ_BYTES = 256 * 1024


def measure_yardsticks(picture: bytes) -> list[Yardstick]:
    encoded = pybase64.b64encode(picture)
    things: dict[str, Callable[[], object]] = {
        "copying the base64 once": lambda: bytearray(encoded),
        "reading it from a socket": reader(encoded),
        "decoding the base64": lambda: pybase64.b64decode(encoded, validate=True),
        "BLAKE3 of the picture": lambda: blake3(picture).digest(),
        "decoding the JPEG, at an eighth of its sides": lambda: decode(picture, 8),
        "decoding the JPEG": lambda: decode(picture, 1),
    }
    return [Yardstick(what, cpu_ms(thing)) for what, thing in things.items()]


def cpu_ms(work: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        began = time.thread_time()
        work()
        took.append((time.thread_time() - began) * 1000)
    return statistics.median(took)


def decode(picture: bytes, part: int) -> None:
    with Image.open(io.BytesIO(picture)) as image:
        image.draft("RGB", (image.width // part, image.height // part))
        image.load()


def reader(data: bytes) -> Callable[[], object]:
    """Of what another thread sends; the reader's own CPU counts."""

    def read() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            caller = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        with caller, ours:
            sender = threading.Thread(target=caller.sendall, args=(data,))
            sender.start()
            place, left = bytearray(READ_BYTES), len(data)
            while left:
                left -= ours.recv_into(place)
            sender.join()

    return read
