"""What a request will cost its engine, known before the engine spends anything on it."""

import math
from collections.abc import Mapping, Sequence

from server.admission.calibration import Calibration
from server.domain import Cost, LoadedImage, ParsedRequest
from server.errors import ContextTooLong
from server.token_rule import TokenRule, prompt_tokens

# Routes whose text becomes a prompt; the others only count.
PROMPTS = frozenset({"chat", "completions", "responses"})
# No vocabulary has longer words on average: what does not fit at so many never does.
MOST_BYTES_PER_TOKEN = 8


class PriceList:
    """Images by the rule of the model that is asked for, else by `default`; text by what engines counted so far."""

    def __init__(
        self,
        default: TokenRule | None = None,
        rules: Mapping[str, TokenRule] | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.default = default
        self.rules = rules or {}
        self.calibration = calibration or Calibration()

    def rule_of(self, model: str) -> TokenRule | None:
        return self.rules.get(model, self.default)

    def image_tokens(self, model: str, images: Sequence[LoadedImage]) -> list[int]:
        """Of each; 0 where the model's rule is not known."""
        rule = self.rule_of(model)
        return [prompt_tokens(rule, image.width, image.height) if rule is not None else 0 for image in images]

    def price(self, request: ParsedRequest, images: Sequence[LoadedImage]) -> Cost:
        tokens = sum(self.image_tokens(request.model, images)) if images else 0
        return self.price_of(request.model, tokens, request)

    def price_of(self, model: str, image_tokens: int, request: ParsedRequest) -> Cost:
        text = self.calibration.tokens(model, request.text_bytes + request.extra_bytes)
        return Cost(image_tokens, text, (request.max_tokens or 0) * request.answers)


def check_fits(cost: Cost, context: int | None, request: ParsedRequest | None = None) -> None:
    """Refuse what can never fit: by what is exact, and of the text by what it must have at least.

    Raises ContextTooLong with the arithmetic.
    """
    text, answer = 0, cost.max_tokens
    if request is not None and request.route in PROMPTS:
        # Each prompt of a batch has the context to itself, and so has each answer. The longest is no shorter than
        # the mean.
        text, answer = request.text_bytes // request.prompts, answer // request.answers
    least_text = math.ceil(text / MOST_BYTES_PER_TOKEN)
    least = cost.image_tokens + answer + least_text
    if context is None or least <= context:
        return
    said, exact = f"The images take {cost.image_tokens} tokens and max_tokens asks for {answer}", least
    if least - least_text > context:
        exact, before = least - least_text, ", before any text"
    else:
        said, before = f"{said}, {text} bytes of text have at least {least_text}", ""
    raise ContextTooLong(f"{said}: {exact} of {context} that the model's context holds{before}.")
