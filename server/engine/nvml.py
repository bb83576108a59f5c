"""What NVML, NVIDIA's own library, tells of the machine's GPUs, read through ctypes: nothing has to be installed.

The launcher asks before vLLM is loaded, `fovea doctor` whenever it is asked itself.
"""

import ctypes
from dataclasses import dataclass

LIBRARY = "libnvidia-ml.so.1"
TEXT_BYTES = 128


class NoNvml(Exception):
    """One sentence: there is no driver, or it does not answer."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """`capability` is CUDA's, as (8, 9); `cut_up` (MIG): programs see a part of it."""

    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int
    uuid: str = ""
    cut_up: bool = False


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
        version, cuda, count = ctypes.create_string_buffer(TEXT_BYTES), ctypes.c_int(), ctypes.c_uint()
        call(nvml, "nvmlSystemGetDriverVersion", version, ctypes.c_uint(TEXT_BYTES))
        call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(cuda))
        call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        gpus = tuple(read_gpu(nvml, index) for index in range(count.value))
        return Driver(text_of(version), (cuda.value // 1000, cuda.value % 1000 // 10), gpus)
    finally:
        call(nvml, "nvmlShutdown")


def read_gpu(nvml: ctypes.CDLL, index: int) -> Gpu:
    device, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(TEXT_BYTES), Memory()
    major, minor, uuid = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(TEXT_BYTES)
    call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(device))
    call(nvml, "nvmlDeviceGetName", device, name, ctypes.c_uint(TEXT_BYTES))
    call(nvml, "nvmlDeviceGetCudaComputeCapability", device, ctypes.byref(major), ctypes.byref(minor))
    call(nvml, "nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
    call(nvml, "nvmlDeviceGetUUID", device, uuid, ctypes.c_uint(TEXT_BYTES))
    capability = (major.value, minor.value)
    return Gpu(text_of(name), capability, memory.total, memory.free, text_of(uuid), is_cut_up(nvml, device))


def is_cut_up(nvml: ctypes.CDLL, device: ctypes.c_void_p) -> bool:
    now, later = ctypes.c_uint(), ctypes.c_uint()
    try:
        call(nvml, "nvmlDeviceGetMigMode", device, ctypes.byref(now), ctypes.byref(later))
    except NoNvml:  # most cannot be
        return False
    return bool(now.value)


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


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
