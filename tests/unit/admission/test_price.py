import pytest

from server.admission.price import PriceList, check_fits
from server.domain import Cost, LoadedImage, ParsedRequest
from server.errors import ContextTooLong

REQUEST = ParsedRequest("chat", "demo", False, 50, 400, (), {})
IMAGE = LoadedImage("d", "image/png", 320, 64, b"")


def test_images_text_and_answer_add_up() -> None:
    cost = PriceList(lambda width, height: width * height // 1024).price(REQUEST, [IMAGE, IMAGE])
    assert cost == Cost(image_tokens=40, text_tokens=100, max_tokens=50)
    assert cost.total == 190


def test_without_the_models_rule_images_are_not_guessed() -> None:
    assert PriceList(None).price(REQUEST, [IMAGE]).image_tokens == 0


def test_what_can_never_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(ContextTooLong, match="900 tokens and max_tokens asks for 200: 1100 of 1000"):
        check_fits(Cost(900, 0, 200), 1000)


@pytest.mark.parametrize("context", [None, 1100])
def test_what_may_fit_passes(context: int | None) -> None:
    check_fits(Cost(900, 10**6, 200), context)
