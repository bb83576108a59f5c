"""What a request will cost its engine, known before the engine spends anything on it."""

import math
from collections.abc import Mapping, Sequence

from server.admission.calibration import Calibration
from server.domain import Cost, LoadedImage, ParsedRequest
from server.errors import ContextTooLong, KvCacheExceeded
from server.token_rule import TokenRule, prompt_tokens

# Routes whose text becomes a prompt; the others only count.
PROMPTS = frozenset({"chat", "completions", "responses"})
# No vocabulary has longer words on average: what does not fit at so many never does.
MOST_BYTES_PER_TOKEN = 8
# Around each message (`<|im_start|>user\n`, `<|im_end|>\n` in Qwen's words; as many in Llama's and Gemma's), and
# before the answer (`<|im_start|>assistant\n`).
MESSAGE_TOKENS, ANSWER_TOKENS = 5, 3


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
        text = self.calibration.tokens(model, request.text_bytes + request.extra_bytes) + template_tokens(request)
        return Cost(image_tokens, text, (request.max_tokens or 0) * request.answers)


def template_tokens(request: ParsedRequest) -> int:
    """What a chat template writes around the text; nothing stands around a completion's."""
    said = request.body.get("messages", request.body.get("input"))
    if said is None:
        return 0
    messages = len(said) if isinstance(said, list) else 1
    return ANSWER_TOKENS + MESSAGE_TOKENS * (messages + bool(request.body.get("instructions")))


def check_fits(
    cost: Cost, context: int | None, request: ParsedRequest | None = None, kv_tokens: int | None = None
) -> None:
    """Refuse what can never fit the context, or the `kv_tokens` that the largest engine can hold for one request:
    by what is exact, and of the text by what it must have at least.

    Raises ContextTooLong, KvCacheExceeded, with the arithmetic.
    """
    text, answer = 0, cost.max_tokens
    if request is not None and request.route in PROMPTS:
        # Each prompt of a batch has the context to itself, and so has each answer: an engine runs them one by one.
        # The longest is no shorter than the mean.
        text, answer = request.text_bytes // request.prompts, answer // request.answers
    least = cost.image_tokens + answer + math.ceil(text / MOST_BYTES_PER_TOKEN)
    if context is not None and least > context:
        raise ContextTooLong(say_sum(cost, text, answer, context, "the model's context"))
    if kv_tokens is not None and least > kv_tokens:
        raise KvCacheExceeded(say_sum(cost, text, answer, kv_tokens, "the KV cache of the largest engine"))


def say_sum(cost: Cost, text: int, answer: int, most: int, holder: str) -> str:
    """Of what is more than `most` tokens: of the text (bytes), only where it takes that."""
    said = f"The images take {cost.image_tokens} tokens and max_tokens asks for {answer}"
    least, before = cost.image_tokens + answer, ", before any text"
    if least <= most:
        least_text = math.ceil(text / MOST_BYTES_PER_TOKEN)
        said, before = f"{said}, {text} bytes of text have at least {least_text}", ""
        least += least_text
    return f"{said}: {least} of {most} that {holder} holds{before}."
