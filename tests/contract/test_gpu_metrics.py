"""GPU metrics over the real pynvml (the copy that vLLM brings along) and a stand-in for NVIDIA's library."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from server.engine.metrics.gpus import REOPEN_S
from server.engine.metrics.sampler import FRESH_S, HANGS_S
from server.engine.metrics.xids import AT_ONCE, MOST_NUMBERS
from tests.conftest import ROOT
from tests.fakes.nvml import (
    GB,
    HANG,
    LOST,
    NO_DRIVER,
    NO_PERMISSION,
    NOT_SUPPORTED,
    SCENE,
    TWO_GPUS,
    UNKNOWN,
    build_stub,
    write_scene,
)

LIBRARIES = ROOT / ".venv" / "engine" / "lib"
CALLS = ("memory", "utilization", "power", "power_limit", "temperature", "throttle", "processes", "ecc_corrected")
REASONS = ("power_cap", "thermal", "hw_slowdown", "power_brake")
MIG = "MIG-cccccccc-0000-0000-0000-000000000000"
CUT_UP = {**TWO_GPUS, "mig@0": "0 1", "uuid@mig2": f"0 {MIG}", "memory@mig2": f"0 {10 * GB} {GB}"}
CUT_UP |= {f"{call}@mig2": NOT_SUPPORTED for call in ("power", "power_limit", "temperature", "utilization")}


class Scrapes:
    """A process that scrapes when asked, by NVML as it finds it."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.log: list[str] = []

    def play(self, changed: Mapping[str, str]) -> None:
        write_scene(self._folder, {**TWO_GPUS, **changed})

    def scrape(self, later_s: float = FRESH_S, hangs: bool = False) -> dict[str, float]:
        """Samples, by the names without what all have in common. What is told has been read since `later_s`
        had gone by, unless the driver `hangs`: then it is what there was."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{later_s} {'' if hangs else 'settled'}\n")
        self._process.stdin.flush()
        found = {}
        for line in self._process.stdout:
            if line == ".\n":
                return found
            if line.startswith("LOG "):
                self.log.append(line[4:-1])
            elif not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name.removeprefix("fovea_")] = float(value)
        raise AssertionError("it ended")


@contextmanager
def scraping(folder: Path, visible: str = "all", scene: Mapping[str, str] | None = TWO_GPUS) -> Iterator[Scrapes]:
    if scene is not None:
        write_scene(folder, scene)
    [pynvml] = LIBRARIES.glob("python3*/site-packages/vllm/third_party/pynvml.py")
    environ = {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML_SCENE": str(folder / SCENE)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.scrape_gpus", str(pynvml), visible],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=ROOT,
    ) as process:
        try:
            yield Scrapes(process, folder)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def scrapes(library: Path) -> Iterator[Scrapes]:
    with ExitStack() as stack:
        yield stack.enter_context(scraping(library))


def test_all_that_a_gpu_says_is_told_in_our_units(scrapes: Scrapes) -> None:
    found = scrapes.scrape()
    told = {name.replace('{gpu="1"}', ""): value for name, value in found.items() if '{gpu="1"}' in name}
    assert told == {
        "gpu_memory_total_bytes": 80 * GB,
        "gpu_memory_used_bytes": 60 * GB,
        "gpu_memory_free_bytes": 20 * GB,
        "gpu_utilization_ratio": 0.75,
        "gpu_memory_utilization_ratio": 0.4,
        "gpu_power_watts": 350.5,
        "gpu_power_limit_watts": 700,
        "gpu_temperature_celsius": 61,
    }
    names = 'driver="580.95.05",gpu="0",name="NVIDIA H100 80GB HBM3"'
    assert found[f'gpu_info{{{names},uuid="GPU-aaaaaaaa-0000-0000-0000-000000000000"}}'] == 1
    assert found["gpus"] == 2


def test_memory_is_told_apart_by_whose_process_has_it(scrapes: Scrapes) -> None:
    found = scrapes.scrape()
    assert found['gpu_process_memory_bytes{gpu="0",process="engine"}'] == 50 * GB
    assert found['gpu_process_memory_bytes{gpu="0",process="other"}'] == 9 * GB


def test_where_none_of_our_processes_is_listed_nobodys_memory_is_told(scrapes: Scrapes) -> None:
    scrapes.play({"processes": f"0 4242 {9 * GB}"})
    found = families(scrapes.scrape())
    assert "gpu_memory_used_bytes" in found
    assert "gpu_process_memory_bytes" not in found


def test_a_gpu_that_is_slowed_down_says_why(scrapes: Scrapes) -> None:
    scrapes.play({"throttle": "0 0x48"})  # by hardware, for its heat
    found = scrapes.scrape()
    reasons = {reason: found[f'gpu_throttled{{gpu="0",reason="{reason}"}}'] for reason in REASONS}
    assert reasons == {"power_cap": 0, "thermal": 1, "hw_slowdown": 1, "power_brake": 0}


def test_memory_errors_are_told_from_the_start_and_as_they_grow(scrapes: Scrapes) -> None:
    found, uncorrected = scrapes.scrape(), 'gpu_ecc_errors_total{gpu="0",kind="uncorrected"}'
    assert (found['gpu_ecc_errors_total{gpu="0",kind="corrected"}'], found[uncorrected]) == (5, 0)
    scrapes.play({"ecc_uncorrected": "0 2"})
    assert scrapes.scrape()[uncorrected] == 2


def test_xids_are_counted_by_their_numbers_and_once_each(scrapes: Scrapes) -> None:
    begun = scrapes.scrape()
    assert all(begun[f'gpu_xid_errors_total{{gpu="0",xid="{xid}"}}'] == 0 for xid in AT_ONCE)
    scrapes.play({"xids@0": "0 31 79 31 200"})
    for _ in range(2):
        found = scrapes.scrape()
        counts = {xid: found[f'gpu_xid_errors_total{{gpu="0",xid="{xid}"}}'] for xid in (31, 79, 200, 48)}
        assert counts == {31: 2, 79: 1, 200: 1, 48: 0}
    assert found['gpu_xid_errors_total{gpu="1",xid="31"}'] == 0


def test_numbers_of_xids_are_bounded(scrapes: Scrapes) -> None:
    scrapes.play({"xids@0": "0 " + " ".join(str(1000 + number) for number in range(200))})
    found = [name for name in scrapes.scrape() if name.startswith('gpu_xid_errors_total{gpu="0"')]
    assert len(found) == MOST_NUMBERS + 1
    assert 'gpu_xid_errors_total{gpu="0",xid="other"}' in found


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("ecc_corrected", {"gpu_ecc_errors_total"}),
        ("utilization", {"gpu_utilization_ratio", "gpu_memory_utilization_ratio"}),
        ("power_limit", {"gpu_power_limit_watts"}),
        ("throttle", {"gpu_throttled"}),
        ("processes", {"gpu_process_memory_bytes"}),
        ("memory", {"gpu_memory_total_bytes", "gpu_memory_used_bytes", "gpu_memory_free_bytes"}),
    ],
)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION])
def test_what_a_gpu_does_not_know_is_left_out_and_is_no_error(
    scrapes: Scrapes, call: str, names: set[str], code: str
) -> None:
    every = families(scrapes.scrape())
    scrapes.play({call: code})
    found = scrapes.scrape()
    assert every - families(found) == names
    assert not any(value for name, value in found.items() if name.startswith("gpu_errors_total"))
    assert found["gpus"] == 2


def test_a_gpu_whose_events_nobody_may_hear_tells_no_xids(library: Path) -> None:
    with scraping(library, scene={**TWO_GPUS, "events": NO_PERMISSION}) as scrapes:
        found = families(scrapes.scrape())
        assert "gpu_power_watts" in found
        assert "gpu_xid_errors_total" not in found


def test_a_gpu_that_falls_off_the_bus_vanishes_and_is_counted(scrapes: Scrapes) -> None:
    scrapes.scrape()
    scrapes.play({"xids@1": "0 79", **{f"{call}@1": LOST for call in CALLS}})
    found, lost = scrapes.scrape(), 'gpu_errors_total{error="lost",gpu="1"}'
    assert families(name for name in found if 'gpu="1"' in name) == {"gpu_errors_total", "gpu_xid_errors_total"}
    assert found["gpus"] == 1
    assert found['gpu_xid_errors_total{gpu="1",xid="79"}'] == 1
    assert found['gpu_memory_used_bytes{gpu="0"}'] == 60 * GB
    assert found[lost] >= 1
    assert scrapes.scrape()[lost] > found[lost]
    scrapes.play({})  # after a reset
    assert scrapes.scrape()["gpus"] == 2


def test_a_call_that_fails_oddly_is_counted_and_takes_nothing_else_away(scrapes: Scrapes) -> None:
    scrapes.play({"temperature@0": UNKNOWN})
    found = scrapes.scrape()
    assert 'gpu_temperature_celsius{gpu="0"}' not in found
    assert found['gpu_temperature_celsius{gpu="1"}'] == 61
    assert found['gpu_errors_total{error="other",gpu="0"}'] >= 1
    assert found['gpu_power_watts{gpu="0"}'] == 350.5


def test_a_driver_that_hangs_holds_no_scrape_up_and_is_counted_once(scrapes: Scrapes) -> None:
    scrapes.scrape()
    scrapes.play({"utilization": HANG})
    assert scrapes.scrape(hangs=True)["gpus"] == 2  # as it was read last
    found = [scrapes.scrape(HANGS_S, hangs=True) for _ in range(3)]
    assert families(found[0]) == {"gpus", "gpu_errors_total", "gpu_xid_errors_total"}
    assert [each["gpus"] for each in found] == [0, 0, 0]
    assert [each['gpu_errors_total{error="hang",gpu="-"}'] for each in found] == [1, 1, 1]
    assert scrapes.log == [
        "The GPUs' driver (NVML) has not answered for ten seconds: there are no metrics of GPUs."
    ]


def test_a_driver_that_never_came_up_holds_no_scrape_up(library: Path) -> None:
    with scraping(library, scene={**TWO_GPUS, "init": HANG}) as scrapes:
        assert scrapes.scrape(hangs=True) == {}
        assert scrapes.scrape(HANGS_S, hangs=True) == {"gpus": 0, 'gpu_errors_total{error="hang",gpu="-"}': 1}


def test_a_machine_without_nvidias_library_has_no_gpus_and_says_so_once(tmp_path: Path) -> None:
    with scraping(tmp_path, scene=None) as scrapes:
        for _ in range(3):
            assert scrapes.scrape(REOPEN_S) == {"gpus": 0, 'gpu_errors_total{error="hang",gpu="-"}': 0}
        assert scrapes.log == ["There are no metrics of GPUs: NVML Shared Library Not Found"]


def test_a_driver_that_comes_later_is_found(library: Path) -> None:
    with scraping(library, scene={**TWO_GPUS, "init": NO_DRIVER}) as scrapes:
        assert scrapes.scrape()["gpus"] == 0
        scrapes.play({})
        assert scrapes.scrape(REOPEN_S)["gpus"] == 2


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("1", ["1"]),
        ("1,0", ["0", "1"]),
        ("GPU-bbbb", ["1"]),
        ("1,7,0", ["1"]),  # CUDA stops at what is no device
        ("-1", []),
        ("", []),
        ("1,1", ["1"]),
    ],
)
def test_only_gpus_that_the_engine_sees_are_told_of(library: Path, visible: str, seen: list[str]) -> None:
    with scraping(library, visible) as scrapes:
        found = scrapes.scrape()
        assert found["gpus"] == len(seen)
        assert [gpu for gpu in ("0", "1") if f'gpu_power_watts{{gpu="{gpu}"}}' in found] == seen


@pytest.mark.parametrize("visible", ["0", MIG])
def test_of_a_gpu_that_is_cut_up_its_instance_is_told(library: Path, visible: str) -> None:
    with scraping(library, visible, CUT_UP) as scrapes:
        found = scrapes.scrape()
        assert found["gpus"] == 1
        assert found['gpu_memory_total_bytes{gpu="0:2:0"}'] == 10 * GB
        assert not families(found) & {"gpu_power_watts", "gpu_temperature_celsius"}
        assert not [name for name in found if 'gpu="0"' in name]


def test_a_gpu_that_was_lost_before_the_engine_started_hides_no_other(library: Path) -> None:
    with scraping(library, scene={**TWO_GPUS, "handle@0": LOST, "handle@1": "0"}) as scrapes:
        found = scrapes.scrape()
        assert found["gpus"] == 1
        assert 'gpu_power_watts{gpu="1"}' in found


def families(names: Iterable[str]) -> set[str]:
    return {name.partition("{")[0] for name in names}
