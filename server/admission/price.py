"""What a request will cost its engine, known before the engine spends anything on it."""

from collections.abc import Callable

from server.domain import Cost, LoadedImage, ParsedRequest
from server.errors import ContextTooLong

# (width, height) in pixels -> tokens.
ImageTokens = Callable[[int, int], int]

# English in byte-level BPE vocabularies of Qwen's size runs near four bytes a token. Only a first guess:
# it orders requests, and never rejects one.
BYTES_PER_TOKEN = 4


class PriceList:
    """Prices requests by the served model's own image rule, where its preprocessor is known."""

    def __init__(self, image_tokens: ImageTokens | None) -> None:
        self._image_tokens = image_tokens

    def price(self, request: ParsedRequest, images: list[LoadedImage]) -> Cost:
        image_tokens = 0
        if self._image_tokens is not None:
            image_tokens = sum(self._image_tokens(image.width, image.height) for image in images)
        return Cost(image_tokens, request.text_bytes // BYTES_PER_TOKEN, request.max_tokens or 0)


def check_fits(cost: Cost, context: int | None) -> None:
    """Refuse what can never fit, by the exact part of the price. Raises ContextTooLong with the arithmetic."""
    if context is not None and cost.image_tokens + cost.max_tokens > context:
        raise ContextTooLong(
            f"The images take {cost.image_tokens} tokens and max_tokens asks for {cost.max_tokens}: "
            f"{cost.image_tokens + cost.max_tokens} of {context} that the model's context holds, before any text."
        )
