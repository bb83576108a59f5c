from pathlib import Path

import pytest

from server.engine.metrics.host import HostMemory, Memory

GB = 1_000_000_000
MEMINFO = f"MemTotal: {64 * GB // 1024} kB\nMemFree: 5 kB\nMemAvailable: {32 * GB // 1024} kB\n"


def machine(root: Path, groups: str) -> HostMemory:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text(groups)
    return HostMemory(root)


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def version_2(folder: Path, limit: object, used: int, inactive: int = 0) -> None:
    group(folder, memory__max=limit, memory__current=used, memory__stat=f"anon 5\ninactive_file {inactive}")


def version_1(folder: Path, limit: int, used: int, inactive: int = 0) -> None:
    stat = f"inactive_file 7\ntotal_inactive_file {inactive}"
    group(folder, memory__limit_in_bytes=limit, memory__usage_in_bytes=used, memory__stat=stat)


def test_without_a_container_it_is_the_machines(tmp_path: Path) -> None:
    memory = machine(tmp_path, "0::/\n").read()
    assert (round(memory.total / GB), round(memory.available / GB)) == (64, 32)


def test_a_containers_limit_counts_and_what_it_can_give_back_is_available(tmp_path: Path) -> None:
    host = machine(tmp_path, "0::/\n")
    version_2(tmp_path / "sys/fs/cgroup", 8 * GB, 6 * GB, 2 * GB)
    assert host.read() == Memory(8 * GB, 4 * GB)


def test_of_nested_groups_the_least_counts(tmp_path: Path) -> None:
    host = machine(tmp_path, "0::/pod/box\n")
    version_2(tmp_path / "sys/fs/cgroup/pod/box", "max", GB)
    version_2(tmp_path / "sys/fs/cgroup/pod", 10 * GB, 9 * GB)
    assert host.read() == Memory(10 * GB, GB)


def test_what_fills_its_limit_has_nothing_left(tmp_path: Path) -> None:
    host = machine(tmp_path, "0::/\n")
    version_2(tmp_path / "sys/fs/cgroup", 8 * GB, 8 * GB + 4096)
    assert host.read() == Memory(8 * GB, 0)


@pytest.mark.parametrize("below", ["box", ""])
def test_version_1_has_limits_too_and_may_be_mounted_without_the_machines_names(tmp_path: Path, below: str) -> None:
    host = machine(tmp_path, "9:cpu:/x\n4:memory:/box\n0::/\n")
    version_1(tmp_path / "sys/fs/cgroup/memory" / below, 4 * GB, 3 * GB, GB)
    assert host.read() == Memory(4 * GB, 2 * GB)


def test_version_1_without_a_limit_is_no_limit(tmp_path: Path) -> None:
    host = machine(tmp_path, "4:memory:/\n")
    version_1(tmp_path / "sys/fs/cgroup/memory", (1 << 63) - 4096, 3 * GB)
    assert host.read().total > 60 * GB


def test_it_is_told_in_bytes(tmp_path: Path) -> None:
    host = machine(tmp_path, "0::/\n")
    version_2(tmp_path / "sys/fs/cgroup", 8 * GB, 6 * GB)
    assert host() == {
        "fovea_host_memory_total_bytes": {(): 8 * GB},
        "fovea_host_memory_available_bytes": {(): 2 * GB},
    }
