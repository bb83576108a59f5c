import orjson
import pytest

from server.engines.cards import MOST_MODELS, Card, read_cards


def cards(*listed: object) -> dict[str, Card]:
    return read_cards(orjson.dumps({"object": "list", "data": listed}))


def test_a_model_has_a_context_where_it_is_told() -> None:
    assert cards({"id": "demo", "max_model_len": 4096}, {"id": "other"}) == {
        "demo": Card(4096, "demo"),
        "other": Card(None, "other"),
    }


def test_an_adapter_is_a_model_of_its_own_with_its_bases_context() -> None:
    found = cards({"id": "sql", "parent": "demo", "max_model_len": None}, {"id": "demo", "max_model_len": 4096})
    assert list(found.items()) == [("demo", Card(4096, "demo")), ("sql", Card(4096, "demo"))]


@pytest.mark.parametrize("parent", [None, 5, "gone", "sql", ["demo"]])
def test_an_adapter_without_a_base_that_is_served_stands_alone(parent: object) -> None:
    assert cards({"id": "sql", "parent": parent}) == {"sql": Card(None, "sql")}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'{"data":5}', b'{"data":{"id":"x"}}', b"{}", b"\xff"])
def test_what_is_no_list_of_models_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="no list of models"):
        read_cards(body)


@pytest.mark.parametrize(
    "card", [5, None, {}, {"id": 5}, {"id": ""}, {"id": "a\nb"}, {"id": "x" * 300}, {"id": []}]
)
def test_a_name_that_could_not_stand_in_a_metric_is_left_out(card: object) -> None:
    assert cards(card, {"id": "demo"}) == {"demo": Card(None, "demo")}


@pytest.mark.parametrize("context", [-1, 0, "4096", 1.5, True, [], {}])
def test_a_context_that_is_none_is_not_believed(context: object) -> None:
    assert cards({"id": "demo", "max_model_len": context}) == {"demo": Card(None, "demo")}


def test_models_are_bounded_in_number() -> None:
    assert len(cards(*({"id": f"m{i}"} for i in range(5000)))) == MOST_MODELS


def test_adapters_in_a_ring_are_nobodys() -> None:
    assert cards({"id": "a", "parent": "b"}, {"id": "b", "parent": "a"}) == {}
