import socket
from pathlib import Path

import pytest

from server.doctor import machine
from server.doctor.finding import Verdict, worst
from server.doctor.machine import (
    check_clock,
    check_folder,
    check_listening,
    check_open_files,
    check_python,
    check_shared_memory,
    show_bytes,
)


@pytest.mark.parametrize(("version", "verdict"), [((3, 10, 9), "failure"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")])
def test_an_old_python_is_a_failure(version: tuple[int, ...], verdict: Verdict) -> None:
    assert worst(check_python(version)) == verdict


@pytest.mark.parametrize(
    ("limits", "verdict"), [((1024, 4608), "ok"), ((1024, -1), "ok"), ((4607, 4607), "warning")]
)
def test_only_the_hard_limit_of_open_files_counts(limits: tuple[int, int], verdict: Verdict) -> None:
    assert worst(check_open_files(4608, limits)) == verdict


@pytest.mark.parametrize(("state", "verdict"), [(0, "ok"), (5, "warning"), (-1, "warning")])
def test_a_clock_that_nothing_sets_is_a_warning(state: int, verdict: Verdict) -> None:
    assert worst(check_clock(lambda: state)) == verdict


@pytest.mark.parametrize(("free", "verdict"), [(100 << 20, "failure"), (2 << 30, "warning"), (50 << 30, "ok")])
def test_a_folder_wants_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict) -> None:
    usage = machine.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    assert worst(check_folder("files.path", tmp_path)) == verdict
    assert worst(check_folder("files.path", tmp_path / "a" / "b")) == verdict
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_folders_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (found,) = check_folder("files.path", tmp_path / "file")
    assert (found.verdict, bool(found.do)) == ("failure", True)


@pytest.mark.parametrize(("total", "verdict"), [(64 << 20, "warning"), (2 << 30, "ok")])
def test_dockers_own_shared_memory_is_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, verdict: Verdict
) -> None:
    usage = machine.shutil.disk_usage(tmp_path)._replace(total=total)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    assert worst(check_shared_memory(tmp_path)) == verdict


def test_no_shared_memory_is_a_warning(tmp_path: Path) -> None:
    assert worst(check_shared_memory(tmp_path / "none")) == "warning"


def test_a_port_that_is_taken_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert worst(check_listening("gateway", "127.0.0.1", port, "http.port")) == "failure"
    assert worst(check_listening("gateway", "127.0.0.1", 0, "http.port")) == "ok"


def test_bytes_are_told_in_what_fits() -> None:
    assert (show_bytes(64 << 20), show_bytes(3 << 29)) == ("64 MiB", "1.5 GiB")
