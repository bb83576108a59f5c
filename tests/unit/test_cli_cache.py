"""`fovea cache`, as it is typed, on folders as engines leave them."""

import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.engine.encoder_cache.entry import key_of
from tests.unit.engine.encoder_cache.folders import (
    NAMESPACE,
    OTHER,
    bytes_in,
    files,
    folder_tier,
    has,
    put,
    size_of,
)

CAPACITY = 40 * size_of(4)


def run(root: Path, command: str, *arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(
        app, ["cache", command, *arguments, "--folder", str(root)], input=stdin, env={"COLUMNS": "200"}
    )


def told(root: Path, command: str, *arguments: str, code: int = 0) -> Any:
    result = run(root, command, *arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight pictures of one tower (two were hit) and one of another's."""
    with folder_tier(tmp_path / "cache", CAPACITY) as tier:
        for number in range(8):
            put(tier, f"picture {number}")
        assert has(tier, "picture 0")
        assert has(tier, "picture 1")
    with folder_tier(tmp_path / "cache", CAPACITY, namespace=OTHER) as tier:
        put(tier, "picture 0")
    return tmp_path / "cache"


def path_of(root: Path, name: str, namespace: str = NAMESPACE) -> Path:
    (path,) = (root / namespace[:16]).rglob(f"{key_of(name)}.emb")
    return path


def spoil(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_ls_lists_what_was_used_last_first(root: Path) -> None:
    old = time.time() - 3 * 86400
    os.utime(path_of(root, "picture 5"), (old, old))
    listed = told(root, "ls")
    assert listed["total"] == len(listed["entries"]) == 9
    last = listed["entries"][-1]
    assert (last["key"], last["shelf"], last["bytes"]) == (key_of("picture 5"), "new", size_of(4))
    assert (last["shape"], last["dtype"], last["encoding"], last["is_bad"]) == ([4, 64], "bfloat16", "raw", False)
    table = run(root, "ls").stdout.splitlines()
    assert table[0].split() == ["key", "namespace", "shelf", "size", "shape", "as", "last", "used"]
    assert table[-1].split()[:3] == [key_of("picture 5")[:16], NAMESPACE[:16], "new"]
    assert table[-1].endswith("3d ago")


def test_ls_says_what_it_leaves_out_and_what_is_bad(root: Path) -> None:
    spoil_header = path_of(root, "picture 3")
    spoil_header.write_bytes(b"x" + spoil_header.read_bytes()[1:])
    assert sum(each["is_bad"] for each in told(root, "ls")["entries"]) == 1
    assert "... and 7 more" in run(root, "ls", "--limit", "2").stdout
    assert told(root, "ls", "--namespace", OTHER)["total"] == 1


def test_stat_says_how_full_it_is_and_of_what(root: Path) -> None:
    said = told(root, "stat")
    assert (said["bytes"], said["capacity_bytes"]) == (bytes_in(root), CAPACITY)
    mine, other = said["namespaces"]
    assert (mine["fingerprint"], other["fingerprint"]) == (NAMESPACE, OTHER)
    assert mine["entries"] == {"new": 6, "kept": 2, "pinned": 0}
    assert mine["bytes"]["kept"] == 2 * size_of(4)
    assert mine["is_in_use"]
    assert "9 entries" in run(root, "stat").stdout


def test_verify_finds_what_is_bad_and_removes_it_when_told_to(root: Path) -> None:
    assert told(root, "verify") == {"entries": 9, "bytes": 9 * size_of(4), "bad": []}
    path = path_of(root, "picture 3")
    spoil(path)
    found = {"key": key_of("picture 3"), "namespace": NAMESPACE[:16], "reason": "checksum", "is_removed": False}
    assert told(root, "verify", code=1)["bad"] == [found]
    assert path.exists()
    assert told(root, "verify", "--delete")["bad"] == [{**found, "is_removed": True}]
    assert not path.exists()
    assert "none bad" in run(root, "verify").stdout


def test_prune_takes_the_folder_down_to_a_size(root: Path) -> None:
    assert told(root, "prune", "--to", str(4 * size_of(4))) == {"entries": 5, "bytes": 5 * size_of(4)}
    assert bytes_in(root) == 4 * size_of(4)
    assert told(root, "stat")["capacity_bytes"] == CAPACITY


def test_prune_removes_what_was_not_used_for_long_but_not_what_is_pinned(root: Path) -> None:
    assert run(root, "pin", key_of("picture 7")).exit_code == 0
    old = time.time() - 40 * 86400
    for name in ("picture 0", "picture 6", "picture 7"):
        os.utime(path_of(root, name), (old, old))
    assert told(root, "prune", "--older-than", "30d")["entries"] == 2
    assert told(root, "ls")["total"] == 7


def test_prune_removes_a_whole_namespace_and_its_folders(root: Path) -> None:
    assert run(root, "pin", "--namespace", OTHER, key_of("picture 0")).exit_code == 0
    assert told(root, "prune", "--namespace", OTHER[:16])["entries"] == 1
    assert not (root / OTHER[:16]).exists()
    assert told(root, "ls")["total"] == 8


@pytest.mark.parametrize(
    "arguments", [(), ("--to", "1GB", "--older-than", "3d"), ("--to", "1GB", "--namespace", OTHER)]
)
def test_prune_wants_to_be_told_one_thing(root: Path, arguments: tuple[str, ...]) -> None:
    result = run(root, "prune", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert len(files(root)) == 9


def test_pins_take_prefixes_of_keys_and_names_of_pictures(root: Path) -> None:
    assert run(root, "pin", "picture 5", key_of("picture 6")[:10]).exit_code == 0
    assert told(root, "stat")["namespaces"][0]["entries"]["pinned"] == 2
    assert run(root, "unpin", "picture 5").exit_code == 0
    assert told(root, "stat")["namespaces"][0]["entries"]["pinned"] == 1


def test_rm_forgets_a_picture_in_every_namespace_for_good(root: Path) -> None:
    with folder_tier(root, CAPACITY) as engine:
        start = time.time()
        assert engine.forgotten_since(start) == []
        result = run(root, "rm", "picture 0")
        assert result.exit_code == 0
        assert "in 2 namespaces" in result.stdout
        assert not has(engine, "picture 0")
        assert not put(engine, "picture 0", created_s=start)
        assert engine.forgotten_since(start) == [key_of("picture 0")]


def test_rm_of_what_is_not_there_says_so_but_holds_for_what_is_under_way(root: Path) -> None:
    begun = time.time()
    digest = "12" * 32
    result = run(root, "rm", digest)
    assert (result.exit_code, result.stderr) == (1, f"fovea: nothing was kept of {digest}\n")
    with folder_tier(root, CAPACITY) as engine:
        assert not put(engine, digest, created_s=begun)


def test_an_export_is_imported_elsewhere_entry_by_entry(root: Path, tmp_path: Path) -> None:
    tar = tmp_path / "embeddings.tar"
    exported = told(root, "export", str(tar), "--namespace", NAMESPACE[:16])
    assert exported["exported"]["entries"] == 8
    assert tar.stat().st_mode & 0o777 == 0o600
    there = tmp_path / "elsewhere"
    assert told(there, "import", str(tar), "--capacity", "1MiB")["imported"]["entries"] == 8
    with folder_tier(there, CAPACITY) as tier:
        assert all(has(tier, f"picture {number}") for number in range(8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "elsewhere", "embeddings.tar"]


def test_an_export_without_what_is_bad_says_so(root: Path, tmp_path: Path) -> None:
    spoil(path_of(root, "picture 3"))
    result = run(root, "export", str(tmp_path / "x.tar"), "--namespace", NAMESPACE)
    assert (result.exit_code, result.stdout) == (1, "exported 7 entries, 5.2 KiB; refused 1 (checksum)\n")


def test_an_archive_goes_through_pipes(root: Path, tmp_path: Path) -> None:
    out = run(root, "export", "-", "--namespace", OTHER)
    assert out.exit_code == 0
    assert "exported 1 entries" in out.stderr
    result = run(tmp_path / "there", "import", "-", "--capacity", "1MiB", stdin=out.stdout_bytes)
    assert (result.exit_code, result.stdout) == (0, "imported 1 entries, 768 B\n")


def test_an_archive_that_breaks_off_keeps_what_came_before(root: Path, tmp_path: Path) -> None:
    tar = tmp_path / "x.tar"
    assert run(root, "export", str(tar), "--namespace", NAMESPACE).exit_code == 0
    tar.write_bytes(tar.read_bytes()[:4000])
    result = run(tmp_path / "there", "import", str(tar), "--capacity", "1MiB")
    assert result.exit_code == 2
    assert result.stdout == "imported 2 entries, 1.5 KiB\n"
    assert result.stderr == f"fovea: {tar}: it ends in the middle\n"


def test_a_hostile_archive_writes_nothing_by_its_names(tmp_path: Path) -> None:
    tar = tmp_path / "x.tar"
    with tarfile.open(tar, "w") as made:
        made.add(__file__, "../../../../evil.emb")
        made.add(__file__, f"{'a' * 16}/../../{key_of('x')}.emb")
    result = run(tmp_path / "there", "import", str(tar), "--capacity", "1MiB")
    assert (result.exit_code, result.stdout) == (1, "imported 0 entries, 0 B; refused 2 (foreign)\n")
    assert files(tmp_path, "*.emb") == []


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("export", ("x.tar",), "say which --namespace: there are"),
        ("ls", ("--namespace", "../.."), "a --namespace is 16 or 64 hex digits"),
        ("prune", ("--to", "much"), "'much' is no size"),
        ("prune", ("--older-than", "long"), "'long' is no time"),
        ("pin", ("cow",), "there is no entry cow"),
        ("import", ("/nowhere.tar",), "/nowhere.tar: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_2(
    root: Path, command: str, arguments: tuple[str, ...], said: str
) -> None:
    result = run(root, command, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"fovea: {said}")
    assert result.stderr.count("\n") == 1


def test_pins_over_half_of_what_the_folder_may_hold_are_refused(root: Path) -> None:
    with folder_tier(root, CAPACITY) as tier:
        for number in range(25):
            put(tier, f"more {number}")
    result = run(root, "pin", *(f"more {number}" for number in range(25)))
    assert result.exit_code == 2
    assert result.stderr == f"fovea: {root}: half of the capacity is pinned\n"
    assert told(root, "stat")["namespaces"][0]["entries"]["pinned"] == 20


@pytest.mark.parametrize("command", ["ls", "stat", "verify"])
def test_a_folder_that_is_not_there_is_said_to_be_so_and_not_made(tmp_path: Path, command: str) -> None:
    result = run(tmp_path / "nowhere", command)
    assert result.exit_code == 2
    assert "no embeddings in" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_folder_is_the_caches_if_none_is_named(root: Path, tmp_path: Path) -> None:
    there = tmp_path / "xdg" / "fovea" / "embeddings"
    there.parent.mkdir(parents=True)
    root.rename(there)
    result = CliRunner().invoke(app, ["cache", "stat", "--json"], env={"XDG_CACHE_HOME": str(tmp_path / "xdg")})
    assert json.loads(result.stdout)["folder"] == str(there)
