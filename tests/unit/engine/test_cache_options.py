import json
from dataclasses import asdict
from pathlib import Path

import pytest

from server.engine import cache_options
from server.engine.cache_options import CacheOptions, parse_compression, parse_duration, parse_size, transfer_config
from server.engine.encoder_cache import options


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GiB", 20 << 30), ("500 MB", 500_000_000), ("1048576", 1 << 20), ("1.5g", 3 << 29), ("7B", 7), ("0", 0)],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "3X", "1 2", "1e9", "inf"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("90", 90)])
def test_a_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_compression_is_one_of_those_there_are() -> None:
    assert parse_compression("fp8-row") == "fp8-row"
    with pytest.raises(ValueError, match="none of none, fp8-row"):
        parse_compression("fp8")


@pytest.mark.parametrize("text", ["", "d", "-1s", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_duration(text)


def test_vllm_is_told_of_the_connector_and_of_what_was_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = json.loads(transfer_config(CacheOptions(folder="kept", disk_bytes=5)))
    assert config == {
        "ec_connector": "FoveaEncoderCache",
        "ec_connector_module_path": "fovea_encoder_cache",
        "ec_role": "ec_both",
        "ec_connector_extra_config": {"folder": str(tmp_path / "kept"), "disk_bytes": 5},
    }


def test_the_connector_understands_all_that_the_launcher_may_tell_it() -> None:
    told = dict.fromkeys(asdict(CacheOptions()), 1) | {"folder": "/x", "compress": "fp8-row"}
    assert options.read_options(told, {}).folder == "/x"
    assert tuple(options.COMPRESSIONS) == cache_options.COMPRESSIONS
    assert cache_options.SHARED_VARIABLE == options.SHARED_VARIABLE
