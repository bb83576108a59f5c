"""What chat templates may write into a prompt besides the text of its messages."""

import orjson

from server.domain import Json

OF_MESSAGES = ("tool_calls", "function_call", "reasoning", "reasoning_content", "refusal")
# A role and its content: most messages have no more.
PLAIN = 2


def measure_extras(body: Json) -> int:
    """Bytes of tools, and of the calls and thoughts of earlier answers: which of them are written is the
    template's to say."""
    tools, messages = body.get("tools"), body.get("messages")
    found = [tools] if tools else []
    for message in messages if isinstance(messages, list) else ():
        if len(message) > PLAIN:
            found += [message[name] for name in OF_MESSAGES if message.get(name)]
    return sum(len(orjson.dumps(each)) for each in found)
