import pytest

from server.images.token_rules.gemma import CROPS_SENTENCE, GemmaTokenRule
from server.token_rule import prompt_tokens


def test_every_picture_has_the_same_without_pan_and_scan() -> None:
    rule = GemmaTokenRule(256)
    assert {prompt_tokens(rule, *size) for size in ((10, 10), (3000, 200))} == {260}


@pytest.mark.parametrize(
    ("size", "crops"),
    [((900, 900), 0), ((1080, 900), 2), ((2000, 500), 4), ((500, 2000), 4), ((9000, 300), 4), ((600, 200), 0)],
)
def test_crops_are_those_of_pan_and_scan(size: tuple[int, int], crops: int) -> None:
    rule = GemmaTokenRule(256, max_crops=4)
    assert rule.crops(*size) == crops
    assert rule.tokens(*size) == 256 + (260 * crops + CROPS_SENTENCE if crops else 0)
