import sys
from pathlib import Path
from typing import Any

import pytest

from server.engine.encoder_cache import options as options_module
from server.engine.encoder_cache.ledger import Sums, open_ledger
from server.engine.encoder_cache.options import (
    DISK_BYTES,
    BadOptions,
    Options,
    disk_bytes_of,
    encoding_of,
    folder_of,
    host_bytes_of,
    lookup_wait_s_of,
    read_options,
)


def test_nothing_given_is_the_defaults() -> None:
    assert read_options({}, {}) == Options()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"foldre": "/x"}, "knows no foldre"),
        ({"disk_bytes": "20GiB"}, "disk_bytes must be of type int"),
        ({"disk_bytes": True}, "disk_bytes must be of type int"),
        ({"ttl_s": -1}, "ttl_s must not be below zero"),
        ({"lookup_wait_s": float("nan")}, "lookup_wait_s must not be below zero"),
        ({"compress": "zip"}, "compress must be one of none, fp8-row"),
        ({"shared": "http://:s3cret@host"}, "URL cannot be read"),
        ({"shared": "redis://:s3cret@host?socket_timeout=3600"}, "may say nothing of socket_timeout"),
    ],
)
def test_what_makes_no_sense_stops_the_engine(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadOptions, match=says) as refused:
        read_options(given, {})
    assert "s3cret" not in str(refused.value)


def test_vllm_without_redis_beside_it_needs_none_but_for_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be anybody's own. (None in sys.modules is what an import of it then fails with.)"""
    monkeypatch.setitem(sys.modules, "server.engine.encoder_cache.redis_line", None)
    assert read_options({"shared": "/a/folder"}, {}).shared == "/a/folder"
    with pytest.raises(BadOptions, match="needs redis"):
        read_options({"shared": "redis://host"}, {})


def test_embeddings_are_kept_exactly_unless_somebody_says_otherwise() -> None:
    assert encoding_of(Options()) == "raw"
    assert encoding_of(read_options({"compress": "fp8-row"}, {})) == "fp8-row"


def test_a_whole_number_is_a_time_too() -> None:
    assert read_options({"ttl_s": 60}, {}).ttl_s == 60


def test_the_shared_tier_comes_by_the_environment_since_vllm_logs_its_arguments() -> None:
    assert (
        read_options({}, {"FOVEA_EMBEDDING_CACHE_SHARED": "redis://:secret@host"}).shared == "redis://:secret@host"
    )


def test_the_folder_is_among_the_user_s_caches() -> None:
    assert folder_of(Options(), {"XDG_CACHE_HOME": "/caches"}) == Path("/caches/fovea/embeddings")
    assert folder_of(Options(), {"HOME": "/home/u"}) == Path("/home/u/.cache/fovea/embeddings")
    assert folder_of(Options(folder="/kept"), {"XDG_CACHE_HOME": "/caches"}) == Path("/kept")


def test_the_disk_s_share_is_at_most_half_of_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 6 << 30

    monkeypatch.setattr(options_module.shutil, "disk_usage", lambda _: Usage)
    assert disk_bytes_of(Options(), tmp_path / "not" / "there" / "yet") == 3 << 30
    with open_ledger(str(tmp_path / "filled"), 0) as ledger:
        ledger.write(Sums(2 << 30, 100, 4 << 30, 0))
    assert disk_bytes_of(Options(), tmp_path / "filled") == 4 << 30
    Usage.free = 1 << 40
    assert disk_bytes_of(Options(), tmp_path) == DISK_BYTES
    assert disk_bytes_of(Options(disk_bytes=5), tmp_path) == 5


def test_an_engine_on_a_cpu_takes_less_host_memory() -> None:
    assert host_bytes_of(Options(), "cpu") < host_bytes_of(Options(), "cuda")
    assert host_bytes_of(Options(host_bytes=7), "cpu") == 7


def test_a_look_up_is_waited_for_longer_where_to_encode_takes_seconds() -> None:
    assert lookup_wait_s_of(Options(), "cpu") > 4 * lookup_wait_s_of(Options(), "cuda") > 0
    assert lookup_wait_s_of(Options(lookup_wait_s=0.5), "cpu") == 0.5
