"""Which GPUs this engine sees, as CUDA reads CUDA_VISIBLE_DEVICES: NVML itself lists all that the machine has.

`nvml` is the module pynvml, which vLLM brings along (vllm.third_party.pynvml).
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """`label` is the number that nvidia-smi shows; of a MIG instance, GPU:instance:compute instance."""

    label: str
    handle: Any
    name: str
    uuid: str


def find_gpus(nvml: Any, visible: str | None) -> list[Gpu]:
    """`visible` as in the environment; None: all. As in CUDA, what follows a name of no device is not seen.

    One that has been lost already is left out. Raises NVMLError.
    """
    every = list_gpus(nvml)
    if visible is None:
        return [each for gpu in every.values() for each in unless_cut_up(nvml, gpu)]
    found: list[Gpu] = []
    for name in visible.split(","):
        named = named_gpu(nvml, name.strip(), every)
        if named is None:
            break
        found += unless_cut_up(nvml, named)
    return list({gpu.label: gpu for gpu in found}.values())


def list_gpus(nvml: Any) -> dict[int, Gpu]:
    found = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        with contextlib.suppress(nvml.NVMLError):
            found[index] = gpu_of(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
    return found


def named_gpu(nvml: Any, name: str, every: dict[int, Gpu]) -> Gpu | None:
    if name.isdecimal():
        return every.get(int(name))
    if name.startswith("MIG-"):
        try:
            return mig_of(nvml, nvml.nvmlDeviceGetHandleByUUID(name))
        except nvml.NVMLError:
            return None
    matching = [gpu for gpu in every.values() if name and gpu.uuid.startswith(name)]
    return matching[0] if len(matching) == 1 else None


def unless_cut_up(nvml: Any, gpu: Gpu) -> list[Gpu]:
    """A GPU that is cut up (MIG) is not seen itself, but the first of its instances."""
    if ":" in gpu.label or not is_cut_up(nvml, gpu.handle):
        return [gpu]
    return list(instances(nvml, gpu.handle))[:1]


def instances(nvml: Any, handle: Any) -> Iterator[Gpu]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(nvml.NVMLError):  # a place that is empty, or not ours
            yield mig_of(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))


def is_cut_up(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:  # most GPUs cannot be
        return False


def gpu_of(nvml: Any, handle: Any) -> Gpu:
    label = str(nvml.nvmlDeviceGetIndex(handle))
    return Gpu(label, handle, nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle))


def mig_of(nvml: Any, handle: Any) -> Gpu:
    whole = nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
    part = f"{nvml.nvmlDeviceGetGpuInstanceId(handle)}:{nvml.nvmlDeviceGetComputeInstanceId(handle)}"
    return Gpu(f"{whole}:{part}", handle, nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle))
