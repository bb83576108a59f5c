"""The GPUs by NVML, NVIDIA's own library: names, memory, driver, and what an FP8 checkpoint does on each."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass

from server.doctor.finding import Finding, failure, ok, warning
from server.doctor.machine import show_bytes

LIBRARY = "libnvidia-ml.so.1"
NAME_BYTES = 128
# Compute capabilities: Ada and Hopper have FP8 in their tensor cores; vLLM's Marlin kernels run FP8 weights below
# that, as 16-bit arithmetic (vLLM 0.32).
FP8_TENSOR_CORES, FP8_WEIGHTS = (8, 9), (7, 5)


class NoNvml(Exception):
    """One sentence: there is no driver, or it does not answer."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`capability` is CUDA's, as (8, 9)."""

    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """`cuda` is the newest version that it runs, as (13, 0)."""

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


class Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def read_driver(library: str = LIBRARY) -> Driver:
    """Raises NoNvml."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError as problem:
        raise NoNvml("no NVIDIA driver is here") from problem
    call(nvml, "nvmlInitWithFlags", ctypes.c_uint(0))
    try:
        version, cuda, count = ctypes.create_string_buffer(NAME_BYTES), ctypes.c_int(), ctypes.c_uint()
        call(nvml, "nvmlSystemGetDriverVersion", version, ctypes.c_uint(NAME_BYTES))
        call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
        call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        gpus = tuple(read_gpu(nvml, index) for index in range(count.value))
        return Driver(text_of(version), (cuda.value // 1000, cuda.value % 1000 // 10), gpus)
    finally:
        call(nvml, "nvmlShutdown")


def read_gpu(nvml: ctypes.CDLL, index: int) -> Gpu:
    device, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(NAME_BYTES), Memory()
    major, minor = ctypes.c_int(), ctypes.c_int()
    call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    call(nvml, "nvmlDeviceGetName", device, name, ctypes.c_uint(NAME_BYTES))
    call(nvml, "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor))
    call(nvml, "nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    return Gpu(text_of(name), (major.value, minor.value), memory.total, memory.free)


def call(nvml: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Raises NoNvml."""
    try:
        code = getattr(nvml, name)(*arguments)
    except AttributeError as problem:
        raise NoNvml(f"the NVIDIA driver's library has no {name}") from problem
    if code:
        raise NoNvml(f"the NVIDIA driver does not answer ({name}: {code})")


def text_of(buffer: "ctypes.Array[ctypes.c_char]") -> str:
    return buffer.value.decode(errors="replace")


def check_gpus(driver: Driver | NoNvml, torch_cuda: tuple[int, int] | None) -> Iterator[Finding]:
    """`torch_cuda`: what the engine's torch was built for; None: for the CPU, or there is none."""
    if isinstance(driver, NoNvml):
        if torch_cuda is not None:
            yield failure("gpu", f"{driver}", "install the driver, or give the container the GPU (--gpus all)")
        else:
            yield ok("gpu", f"{driver}: engines run vLLM's CPU build")
        return
    told = f"{driver.version}, up to CUDA {dotted(driver.cuda)}"
    if torch_cuda is not None and driver.cuda[0] < torch_cuda[0]:
        do = f"install a driver for CUDA {torch_cuda[0]}, or a torch for CUDA {driver.cuda[0]}"
        yield failure("driver", f"{told}; torch was built for CUDA {dotted(torch_cuda)}", do)
    else:
        yield ok("driver", told)
    if not driver.gpus:
        yield failure("gpu", "the driver knows none", "look at nvidia-smi; in a container: --gpus all")
    for index, gpu in enumerate(driver.gpus):
        yield check_gpu(index, gpu)
    if driver.gpus and torch_cuda is None:
        do = "install fovea[engine-cuda] to serve on the GPU"
        yield warning("gpu", "no torch for CUDA is in the engine's environment", do)


def check_gpu(index: int, gpu: Gpu) -> Finding:
    """FP8 recipes, in particular."""
    told = f"{gpu.name}, compute capability {dotted(gpu.capability)}, "
    told += f"{show_bytes(gpu.free_bytes)} of {show_bytes(gpu.total_bytes)} free"
    if gpu.capability >= FP8_TENSOR_CORES:
        return ok(f"gpu {index}", f"{told}; FP8 recipes run on FP8 tensor cores (W8A8)")
    if gpu.capability >= FP8_WEIGHTS:
        do = "for speed on Ampere quantize with w8a8-int8; for memory alone FP8 does"
        return warning(f"gpu {index}", f"{told}; FP8 saves memory and no time here (W8A16, Marlin)", do)
    return failure(f"gpu {index}", f"{told}; vLLM runs no FP8 here", "serve the BF16 checkpoint, or w8a8-int8")


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
