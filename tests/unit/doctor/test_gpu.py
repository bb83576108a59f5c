from pathlib import Path

import pytest

from server.doctor.finding import Verdict
from server.doctor.gpu import check_gpu, check_gpus, check_model_on_gpus
from server.engine.nvml import Driver, Gpu, NoNvml, read_driver

GIB = 1 << 30


def gpu(major: int, minor: int) -> Gpu:
    return Gpu("a GPU", (major, minor), 24 * GIB, 20 * GIB)


@pytest.mark.parametrize(
    ("capability", "verdict", "says"),
    [
        ((9, 0), "ok", "W8A8"),
        ((8, 9), "ok", "W8A8"),
        ((12, 0), "ok", "W8A8"),
        ((8, 0), "warning", "W8A16"),
        ((7, 5), "warning", "W8A16"),
        ((7, 0), "failure", "no FP8"),
    ],
)
def test_what_fp8_does_follows_from_the_compute_capability(
    capability: tuple[int, int], verdict: Verdict, says: str
) -> None:
    found = check_gpu(0, gpu(*capability))
    assert found.verdict == verdict
    assert says in found.told
    assert bool(found.do) is (verdict != "ok")


def verdicts(driver: Driver | NoNvml, torch_cuda: tuple[int, int] | None) -> list[Verdict]:
    return [found.verdict for found in check_gpus(driver, torch_cuda)]


def test_without_a_driver_a_cpu_build_is_fine_and_a_cuda_build_is_not() -> None:
    assert verdicts(NoNvml("no NVIDIA driver is here"), None) == ["ok"]
    assert verdicts(NoNvml("no NVIDIA driver is here"), (13, 0)) == ["failure"]


@pytest.mark.parametrize(("cuda", "verdict"), [((12, 8), "failure"), ((13, 0), "ok"), ((14, 1), "ok")])
def test_a_driver_older_than_torchs_cuda_is_a_failure(cuda: tuple[int, int], verdict: Verdict) -> None:
    assert verdicts(Driver("580.1", cuda, (gpu(9, 0),)), (13, 0)) == [verdict, "ok"]


def test_a_gpu_that_no_torch_can_use_and_a_driver_without_gpus_are_told() -> None:
    assert verdicts(Driver("580.1", (13, 0), (gpu(9, 0),)), None) == ["ok", "ok", "warning"]
    assert verdicts(Driver("580.1", (13, 0), ()), (13, 0)) == ["ok", "failure"]


def test_a_library_that_is_not_there_is_no_driver() -> None:
    with pytest.raises(NoNvml, match="no NVIDIA driver"):
        read_driver("libno-such-thing.so.1")


def test_a_library_of_something_else_is_said() -> None:
    with pytest.raises(NoNvml, match="has no nvmlInitWithFlags"):
        read_driver("libc.so.6")


def test_a_checkpoint_is_held_against_the_gpus_as_an_engine_would() -> None:
    demo = str(Path(__file__).parents[3] / "demo" / "model")
    driver = Driver("580.1", (13, 0), (gpu(9, 0),))
    assert [found.verdict for found in check_model_on_gpus(demo, driver, None)] == ["ok"]
    (found,) = check_model_on_gpus(demo, driver, "")
    assert (found.verdict, "sees 0" in found.told) == ("failure", True)
