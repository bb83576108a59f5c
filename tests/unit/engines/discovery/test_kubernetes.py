from typing import Any

import pytest

from server.engines.discovery.kubernetes import endpoints_of


def slice_of(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    ports = [{"name": "metrics", "port": 1}, {"name": "http", "port": 8000}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": [*endpoints], **more}


@pytest.mark.parametrize("port", ["http", "8000"])
def test_a_port_is_named_or_numbered(port: str) -> None:
    assert endpoints_of(slice_of({"addresses": ["10.0.0.1"]}), port) == [("10.0.0.1", 8000)]


@pytest.mark.parametrize("port", ["other", "80", ""])
def test_a_slice_without_the_port_has_no_engines(port: str) -> None:
    assert endpoints_of(slice_of({"addresses": ["10.0.0.1"]}), port) == []


@pytest.mark.parametrize(
    ("conditions", "usable"),
    [
        (None, True),
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({"ready": True, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
    ],
)
def test_an_endpoint_is_taken_unless_it_is_said_not_to_be_ready(conditions: Any, usable: bool) -> None:
    found = endpoints_of(slice_of({"addresses": ["10.0.0.1"], "conditions": conditions}), "http")
    assert bool(found) is usable


EMPTY: list[dict[str, Any]] = [{"endpoints": None}, {"ports": None}, {"endpoints": []}, {"addressType": "FQDN"}]


@pytest.mark.parametrize("empty", EMPTY)
def test_a_slice_that_says_nothing_of_use_is_none(empty: dict[str, Any]) -> None:
    assert endpoints_of(slice_of({"addresses": ["10.0.0.1"]}, **empty), "http") == []


def test_an_endpoint_is_one_engine_however_many_addresses_it_has() -> None:
    found = endpoints_of(slice_of({"addresses": ["10.0.0.1", "10.0.0.2"]}, {"addresses": []}), "http")
    assert found == [("10.0.0.1", 8000)]
