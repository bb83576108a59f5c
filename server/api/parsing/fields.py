"""Fields that more than one route takes, and how those that none takes are refused."""

from server.domain import Json
from server.errors import CallerError, FieldRefused

OPENAI_FIELDS = frozenset(
    "model stream stream_options max_tokens temperature top_p n stop presence_penalty frequency_penalty"
    " logit_bias logprobs seed user metadata store service_tier response_format".split()
)
VLLM_FIELDS = frozenset(
    "top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos"
    " min_tokens skip_special_tokens spaces_between_special_tokens structured_outputs bad_words"
    " allowed_token_ids add_special_tokens echo".split()
)


def refuse_fields(part: Json, allowed: frozenset[str], path: str) -> None:
    """Raises FieldRefused for the first field of `part` (at `path`; "" for the body) that is not allowed."""
    for field in part:
        if field not in allowed:
            raise FieldRefused(f"The field '{field}' is not accepted here.", f"{path}.{field}" if path else field)


def read_model(body: Json) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise CallerError("The field 'model' must name a model.", "model")
    return model


def read_stream(body: Json) -> bool:
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise CallerError("The field 'stream' must be true or false.", "stream")
    return stream


def read_max_tokens(body: Json, fields: tuple[str, ...]) -> int | None:
    """The first of `fields` that is set. Raises CallerError."""
    for field in fields:
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CallerError(f"The field '{field}' must be a whole number of at least 1.", field)
        return value
    return None
