from dataclasses import dataclass, replace

import pytest

from server.admission.price import ANSWER_TOKENS, MESSAGE_TOKENS, PriceList, check_fits, template_tokens
from server.domain import Cost, LoadedImage, ParsedRequest, Route
from server.errors import ContextTooLong, KvCacheExceeded

REQUEST = ParsedRequest("chat", "demo", False, 50, 400, (), {"messages": [{}]})
TEMPLATE = MESSAGE_TOKENS + ANSWER_TOKENS
IMAGE = LoadedImage("d", "image/png", 320, 64, b"")


@dataclass(frozen=True)
class Tiles:
    """A rule: a token a tile, two around."""

    side: int = 32
    name: str = "tiles"
    markers: int = 2

    def tokens(self, width: int, height: int) -> int:
        return width * height // self.side**2


def test_images_text_and_answer_add_up() -> None:
    cost = PriceList(Tiles()).price(REQUEST, [IMAGE, IMAGE])
    assert cost == Cost(image_tokens=44, text_tokens=100 + TEMPLATE, max_tokens=50)
    assert cost.total == 194 + TEMPLATE


def test_a_model_with_a_rule_of_its_own_is_priced_by_it() -> None:
    prices = PriceList(Tiles(), {"demo": Tiles(64)})
    assert prices.image_tokens("demo", [IMAGE]) == [7]
    assert prices.image_tokens("another", [IMAGE]) == [22]


def test_without_the_models_rule_images_are_not_guessed() -> None:
    assert PriceList().price(REQUEST, [IMAGE]).image_tokens == 0


def test_what_can_never_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(ContextTooLong, match="900 tokens and max_tokens asks for 200: 1100 of 1000"):
        check_fits(Cost(900, 0, 200), 1000)


@pytest.mark.parametrize("context", [None, 1100])
def test_what_may_fit_passes(context: int | None) -> None:
    check_fits(Cost(900, 10**6, 200), context)


def asked(route: Route, text_bytes: int) -> ParsedRequest:
    return ParsedRequest(route, "demo", False, 50, text_bytes, (), {})


def test_text_that_would_not_fit_at_eight_bytes_a_token_is_refused() -> None:
    check_fits(Cost(500, 10**6, 100), 1000, asked("chat", 3200))
    with pytest.raises(ContextTooLong, match="100, 3201 bytes of text have at least 401: 1001 of 1000"):
        check_fits(Cost(500, 0, 100), 1000, asked("chat", 3201))


def test_text_that_is_only_counted_may_be_long() -> None:
    check_fits(Cost(0, 0, 0), 1000, asked("tokenize", 10**6))


BATCH = ParsedRequest("completions", "demo", False, 16, 64 * 600, (), {}, prompts=64, answers=64 * 16)


def test_a_batch_pays_for_all_of_its_answers() -> None:
    assert PriceList().price(BATCH, []).max_tokens == 64 * 16 * 16


def test_each_prompt_of_a_batch_has_the_context_to_itself() -> None:
    check_fits(PriceList().price(BATCH, []), 4096, BATCH)
    with pytest.raises(ContextTooLong, match="max_tokens asks for 16"):
        check_fits(PriceList().price(BATCH, []), 80, BATCH)


def test_tools_and_earlier_calls_are_paid_for_but_nothing_is_refused_for_them() -> None:
    told = replace(REQUEST, extra_bytes=80_000)
    assert PriceList().price(told, []).text_tokens == 20_100 + TEMPLATE
    check_fits(PriceList().price(told, []), 4096, told)


def test_what_no_engine_can_hold_is_refused_with_the_arithmetic_though_the_context_allows_it() -> None:
    check_fits(Cost(900, 10**6, 100), 4096, kv_tokens=1000)
    with pytest.raises(KvCacheExceeded, match="for 101: 1001 of 1000 that the KV cache of the largest"):
        check_fits(Cost(900, 0, 101), 4096, kv_tokens=1000)
    with pytest.raises(KvCacheExceeded, match="801 bytes of text have at least 101: 1001 of 1000"):
        check_fits(Cost(800, 0, 100), None, asked("chat", 801), kv_tokens=1000)


def test_what_exceeds_both_is_too_long_for_the_context() -> None:
    with pytest.raises(ContextTooLong):
        check_fits(Cost(5000, 0, 0), 4096, kv_tokens=1000)


def test_each_answer_of_a_batch_has_the_kv_cache_to_itself() -> None:
    check_fits(PriceList().price(BATCH, []), 4096, BATCH, kv_tokens=16 + 75)
    with pytest.raises(KvCacheExceeded):
        check_fits(PriceList().price(BATCH, []), 4096, BATCH, kv_tokens=16 + 74)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [{}]}, TEMPLATE),
        ({"messages": [{}] * 4}, TEMPLATE + 3 * MESSAGE_TOKENS),
        ({"input": "Hi"}, TEMPLATE),
        ({"input": [{}, {}]}, TEMPLATE + MESSAGE_TOKENS),
        ({"input": "Hi", "instructions": "Be brief."}, TEMPLATE + MESSAGE_TOKENS),
        ({"prompt": "Hi"}, 0),
        ({"tokens": [1]}, 0),
    ],
)
def test_the_template_is_priced_by_the_messages_that_it_stands_around(body: dict[str, object], tokens: int) -> None:
    request = replace(REQUEST, body=body)
    assert template_tokens(request) == tokens
    assert PriceList().price(request, []).text_tokens == 100 + tokens
