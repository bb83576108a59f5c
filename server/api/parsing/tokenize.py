"""/tokenize: a prompt, or a conversation with its pictures, into the model's tokens."""

from server.api.parsing.chat import parse_messages
from server.domain import ImageSource, Json
from server.errors import CallerError

FIELDS = frozenset(
    "model prompt messages add_special_tokens return_token_strs add_generation_prompt continue_final_message"
    " chat_template_kwargs tools".split()
)


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """The images of a conversation in order, and the bytes of its text. Raises FieldRefused or CallerError."""
    if ("prompt" in body) == ("messages" in body):
        raise CallerError("Either 'prompt' or 'messages' must be given.", "prompt")
    if "messages" in body:
        return parse_messages(body["messages"])
    prompt = body["prompt"]
    if not isinstance(prompt, str):
        raise CallerError("The field 'prompt' must be a string.", "prompt")
    return [], len(prompt)
