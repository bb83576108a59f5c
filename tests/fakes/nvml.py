"""A machine with NVIDIA GPUs, as far as NVML goes: `nvml.c` built as libnvidia-ml.so.1, and the scene it plays.

Programs that are started with `LD_LIBRARY_PATH` = the folder find it in NVIDIA's place; each call reads the scene.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = "libnvidia-ml.so.1"
SCENE = "scene.txt"
HANG, NOT_SUPPORTED, NO_PERMISSION, NO_DRIVER, LOST, UNKNOWN = "-1", "3", "4", "9", "15", "999"
GB = 1_000_000_000
# Two GPUs. Values follow NVML's return code; what is not here is not supported.
TWO_GPUS: Mapping[str, str] = {
    "init": "0",
    "count": "0 2",
    "driver": "0 580.95.05",
    "events": "0",
    "name": "0 NVIDIA H100 80GB HBM3",
    "uuid@0": "0 GPU-aaaaaaaa-0000-0000-0000-000000000000",
    "uuid@1": "0 GPU-bbbbbbbb-0000-0000-0000-000000000000",
    "memory": f"0 {80 * GB} {60 * GB}",  # total, used
    "utilization": "0 75 40",
    "power": "0 350500",  # mW
    "power_limit": "0 700000",
    "temperature": "0 61",
    "ecc_corrected": "0 5",
    "ecc_uncorrected": "0 0",
    "throttle": "0 0x4",  # by its power limit
    "processes": f"0 0 {50 * GB} 4242 {9 * GB}",  # process and bytes; 0: who asks
}


def build_stub(folder: Path, scene: Mapping[str, str] = TWO_GPUS) -> Path:
    """`folder`, with the library and its scene in it. Needs a C compiler, as vLLM does."""
    write_scene(folder, scene)
    told = f'-DSCENE="{folder / SCENE}"'
    command = ["cc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}", told, "-o", folder / LIBRARY, SOURCE]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def write_scene(folder: Path, scene: Mapping[str, str]) -> None:
    """In place of the one that is played, at once."""
    new = folder / f"{SCENE}.new"
    new.write_text("".join(f"{call} {answer}\n" for call, answer in scene.items()))
    new.replace(folder / SCENE)
