"""The GPUs: driver, names, memory, and what an FP8 checkpoint does on each."""

from collections.abc import Iterator
from pathlib import Path

from server.doctor.finding import Finding, failure, ok, warning
from server.doctor.machine import show_bytes
from server.engine.gpu_check import FP8_TENSOR_CORES, QUANTIZED_WEIGHTS, read_wish, refusals
from server.engine.nvml import Driver, Gpu, NoNvml, dotted


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
    if gpu.capability >= QUANTIZED_WEIGHTS:
        do = "for speed on Ampere quantize with w8a8-int8; for memory alone FP8 does"
        return warning(f"gpu {index}", f"{told}; FP8 saves memory and no time here (W8A16, Marlin)", do)
    do = "serve the unquantized checkpoint there (--dtype half), or take another GPU"
    return failure(f"gpu {index}", f"{told}; vLLM runs no FP8 and no INT8 here", do)


def check_model_on_gpus(model: str, driver: Driver, visible: str | None) -> Iterator[Finding]:
    """As `fovea engine --model` would look, without further options."""
    wish = read_wish(str(Path(model).expanduser()), ())
    found = list(refusals(driver, visible, wish))
    for sentence in found:
        yield failure("checkpoint on gpu", sentence, "fovea-quantize fit says what fits where")
    if not found:
        yield ok("checkpoint on gpu", "nothing stands against it; fovea-quantize fit says what context there is")
