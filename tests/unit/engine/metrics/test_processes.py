import os
import shutil
from pathlib import Path

from server.engine.metrics.processes import FAMILY_S, Processes

PAGE = os.sysconf("SC_PAGE_SIZE")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def process(root: Path, pid: int, name: str, pages: int, children: str = "") -> None:
    """With a second thread that has no children."""
    for thread, below in ((pid, children), (pid + 1000, "")):
        (root / f"proc/{pid}/task/{thread}").mkdir(parents=True)
        (root / f"proc/{pid}/task/{thread}/children").write_text(below)
    (root / f"proc/{pid}/comm").write_text(f"{name}\n")
    (root / f"proc/{pid}/statm").write_text(f"999 {pages} 1 1 0 1 0\n")


def engine(root: Path) -> None:
    process(root, 10, "python3", 5, "11 12 ")
    process(root, 11, "python3", 77)  # multiprocessing's resource tracker
    process(root, 12, "VLLM::EngineCor", 20, "13 14 ")
    process(root, 13, "VLLM::Worker", 300)
    process(root, 14, "VLLM::Worker_TP", 400)
    process(root, 99, "VLLM::Worker", 5000)  # of another engine


def test_each_kind_has_its_resident_bytes(tmp_path: Path) -> None:
    engine(tmp_path)
    assert Processes(10, tmp_path)() == {
        "fovea_engine_process_memory_bytes": {("api",): 5 * PAGE, ("core",): 20 * PAGE, ("worker",): 700 * PAGE}
    }


def test_one_that_ends_is_left_out_and_a_new_one_is_found_in_time(tmp_path: Path) -> None:
    engine(tmp_path)
    clock = Clock()
    processes = Processes(10, tmp_path, clock)
    processes()
    shutil.rmtree(tmp_path / "proc/14")
    process(tmp_path, 15, "VLLM::Worker", 1)
    (tmp_path / "proc/12/task/12/children").write_text("13 15 ")
    assert processes()["fovea_engine_process_memory_bytes"]["worker",] == 300 * PAGE
    clock.now = FAMILY_S
    assert processes()["fovea_engine_process_memory_bytes"]["worker",] == 301 * PAGE


def test_a_kernel_that_lists_no_children_tells_of_the_server_alone(tmp_path: Path) -> None:
    engine(tmp_path)
    for children in tmp_path.glob("proc/*/task/*/children"):
        children.unlink()
    assert Processes(10, tmp_path).family() == {10: "api"}


def test_our_own_process_is_read_from_the_real_kernel() -> None:
    assert Processes()()["fovea_engine_process_memory_bytes"]["api",] > 1_000_000
