"""Embeddings between the device and host memory, off the forward path: with torch, and streams where there are any.

Loads are ordered before the step's kernels because they run on the stream of those. Saves run on a stream of their
own, into pinned memory, after what the current stream has in its queue. On a CPU nothing is copied but into place.
"""

import logging
import threading
from typing import Any

import torch

log = logging.getLogger(__name__)

# What entries can hold (entry.ITEM_BYTES).
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def host_buffer(length: int, device: Any) -> Any:
    """Bytes that `device` can copy from while we go on. torch gives pinned memory to the next only when copies out
    of it are done."""
    return torch.empty(length, dtype=torch.uint8, pin_memory=device.type == "cuda")


def bytes_of(tensor: Any) -> memoryview:
    """A tensor on the host as it lies in memory: no copy if it is contiguous."""
    return memoryview(tensor.contiguous().view(torch.uint8).reshape(-1).numpy())


def place(buffer: Any, shape: tuple[int, ...], dtype: str, device: Any) -> Any:
    """The buffer's bytes as a tensor on the device, on its current stream; on a CPU the buffer itself."""
    return buffer.to(device, non_blocking=True).view(DTYPES[dtype]).reshape(shape)


class HostCopy:
    """A copy of an embedding on its way to the host. vLLM never writes into what it was made from.

    Made and started on the forward path, waited for by the thread that writes it.
    """

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self._started = threading.Event()
        self._done: Any = None

    def start(self, stream: Any) -> None:
        """On a stream beside the current one; None on a CPU. Raises nothing: `wait` does."""
        try:
            if stream is not None:
                self._begin(stream)
        except RuntimeError as problem:  # no pinned memory, or the device's own
            log.warning("An embedding could not be copied from the device: %s", type(problem).__name__)
            self._tensor = None
        finally:
            self._started.set()

    def wait(self) -> Any:
        """The tensor on the host. Blocks until the device has copied it. Raises ValueError if it could not."""
        self._started.wait()
        if self._done is not None:
            self._done.synchronize()
        if self._tensor is None:
            raise ValueError("not copied")
        return self._tensor

    def _begin(self, stream: Any) -> None:
        source = self._tensor.contiguous()
        stream.wait_stream(torch.cuda.current_stream(source.device))
        with torch.cuda.stream(stream):
            host = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
            host.copy_(source, non_blocking=True)
            done = torch.cuda.Event()
            done.record(stream)
        source.record_stream(stream)  # or its memory may be another tensor's before it is copied
        self._tensor, self._done = host, done
