"""/tokenize: a prompt, or a conversation with its pictures, into the model's tokens. /detokenize: back.

vLLM bounds neither by the model's context, so a bound of ours stands in: four bytes a token for a million tokens.
"""

from server.api.parsing.chat import parse_messages
from server.domain import ImageSource, Json
from server.errors import CallerError, ContextTooLong

MOST_TOKENS = 1024**2
MOST_BYTES = 4 * MOST_TOKENS
FIELDS = frozenset(
    "model prompt messages add_special_tokens return_token_strs add_generation_prompt continue_final_message"
    " chat_template_kwargs tools".split()
)
DETOKENIZE_FIELDS = frozenset({"model", "tokens"})


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """The images of a conversation in order, and the bytes of its text.

    Raises FieldRefused, ContextTooLong or CallerError.
    """
    if ("prompt" in body) == ("messages" in body):
        raise CallerError("Either 'prompt' or 'messages' must be given.", "prompt")
    if "messages" in body:
        images, text_bytes = parse_messages(body["messages"])
    else:
        images, text_bytes = [], len(check_prompt(body["prompt"]))
    if text_bytes > MOST_BYTES:
        raise ContextTooLong(f"At most {MOST_BYTES} bytes of text are made into tokens at once.")
    return images, text_bytes


def check_prompt(prompt: object) -> str:
    if not isinstance(prompt, str):
        raise CallerError("The field 'prompt' must be a string.", "prompt")
    return prompt


def parse_detokenize(body: Json) -> tuple[list[ImageSource], int]:
    """No images; tokens count four bytes each. Raises ContextTooLong or CallerError."""
    tokens = body.get("tokens")
    if not isinstance(tokens, list) or not set(map(type, tokens)) <= {int}:
        raise CallerError("The field 'tokens' must be a list of whole numbers.", "tokens")
    if len(tokens) > MOST_TOKENS:
        raise ContextTooLong(f"At most {MOST_TOKENS} tokens are made into text at once.", "tokens")
    if tokens and not 0 <= min(tokens) <= max(tokens) < 2**31:
        raise CallerError("A token is a whole number from 0 to below 2^31.", "tokens")
    return [], 4 * len(tokens)
