import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from server.errors import ConfigError, FileStoreFailed, FileStoreFull
from server.files.record import FileRecord, Removed, Usage
from server.files.sqlite_catalogue import SqliteCatalogue
from server.metrics import Metrics

RECORD = FileRecord("file-1", "vision", "a.png", "image/png", 5, "digest", "blob", 1, 10**10)
QUOTA = Usage(10**6, 10**12)


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_what_is_no_catalogue_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalogue.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"files\.path: cannot use"):
        SqliteCatalogue(path, Metrics())
    assert path.read_bytes() == content


def test_a_catalogue_of_another_version_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(ConfigError, match="it is of version 7, this gateway reads 1"):
        SqliteCatalogue(path, Metrics())


async def test_the_catalogue_is_for_its_owner_alone_and_outlives_its_gateway(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    first = SqliteCatalogue(path, Metrics())
    assert await first.add("t", RECORD, QUOTA, 1) == "blob"
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.glob("*.sqlite*")} == {0o600}
    await first.close()
    second = SqliteCatalogue(path, Metrics())
    assert await second.find("t", "file-1", 1) == RECORD
    await second.close()


async def test_a_catalogue_from_before_facts_were_written_down_is_taken_on(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    first = SqliteCatalogue(path, Metrics())
    await first.add("t", replace(RECORD, facts="f"), QUOTA, 1)
    await first.close()
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE files DROP COLUMN facts")
    old.close()
    second = SqliteCatalogue(path, Metrics())
    assert await second.find("t", "file-1", 1) == RECORD
    new = replace(RECORD, id="file-2", facts="f")
    await second.add("t", new, QUOTA, 1)
    assert await second.remove("t", "file-2", 1) == Removed(new, [])
    assert await second.remove("t", "file-1", 1) == Removed(RECORD, ["blob"])
    await second.close()


async def test_a_full_disk_is_said_to_be_and_nothing_is_half_added(tmp_path: Path) -> None:
    metrics = Metrics()
    catalogue = SqliteCatalogue(tmp_path / "catalogue.sqlite", metrics)
    pages = catalogue._writes.execute("PRAGMA page_count").fetchone()[0]
    catalogue._writes.execute(f"PRAGMA max_page_count = {pages + 2}")  # what SQLite then says is SQLITE_FULL
    added, full = 0, False
    while not full:
        assert added < 1000
        try:
            await catalogue.add("t", replace(RECORD, id=f"file-{added}", filename="x" * 200), QUOTA, 1)
            added += 1
        except FileStoreFull:
            full = True
    assert added > 0
    assert await catalogue.usage("t", 1) == Usage(added, 5 * added)
    counted = {"place": "catalogue", "kind": "full"}
    assert metrics.registry.get_sample_value("fovea_files_failures_total", counted) == 1
    await catalogue.close()


async def test_a_catalogue_that_breaks_under_way_is_a_failure_of_the_store(tmp_path: Path) -> None:
    metrics = Metrics()
    path = tmp_path / "catalogue.sqlite"
    catalogue = SqliteCatalogue(path, metrics)
    await catalogue.add("t", RECORD, QUOTA, 1)
    other = sqlite3.connect(path)
    other.execute("DROP TABLE files")
    other.close()
    with pytest.raises(FileStoreFailed) as caught:
        await catalogue.find("t", "file-1", 1)
    assert "files" not in caught.value.message.replace("of files", "")
    with pytest.raises(FileStoreFailed):
        await catalogue.add("t", RECORD, QUOTA, 1)
    counted = {"place": "catalogue", "kind": "failed"}
    assert metrics.registry.get_sample_value("fovea_files_failures_total", counted) == 2
    await catalogue.close()
