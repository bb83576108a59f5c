"""The anthropic SDK: `python anthropic_python.py URL KEY MODEL STEP...`"""

import anthropic
from pydantic import BaseModel, Field
from steps import COUNT, HOW_MANY, KEY, MODEL, NUMBER, READ, THINGS, URL, digest, in_base64, tell

client = anthropic.Anthropic(base_url=URL, api_key=KEY)
STEADY = {"temperature": 0}  # the SDK has no argument for it


class Count(BaseModel):
    count: int = Field(ge=0, le=9)


def content(path, question):
    media_type = "image/jpeg" if path.suffix == ".jpg" else "image/png"
    source = {"type": "base64", "media_type": media_type, "data": in_base64(path)}
    return [{"type": "image", "source": source}, {"type": "text", "text": question}]


def ask(parts, **fields):
    messages = [{"role": "user", "content": parts}]
    return client.messages.create(model=MODEL, max_tokens=96, messages=messages, extra_body=STEADY, **fields)


def sees():
    source = {"type": "base64", "media_type": "image/jpeg", "data": in_base64(NUMBER)}
    question = {"type": "text", "text": "What number is written here? Reply with the digits only."}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}, question]}]
    answer = client.messages.create(model=MODEL, max_tokens=32, messages=messages, extra_body=STEADY)
    return answer.content[0].text


def streams():
    messages = [{"role": "user", "content": content(NUMBER, READ)}]
    with client.messages.stream(model=MODEL, max_tokens=32, messages=messages, extra_body=STEADY) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    text = "".join(pieces)
    return {
        "text": text,
        "pieces": len(pieces),
        "final": final.content[0].text,
        "tokens": final.usage.output_tokens,
    }


def remembers():
    messages = [
        {"role": "user", "content": content(THINGS, HOW_MANY)},
        {"role": "assistant", "content": "6"},
        {"role": "user", "content": HOW_MANY},
    ]
    return client.messages.create(model=MODEL, max_tokens=8, messages=messages, extra_body=STEADY).content[0].text


def structures():
    messages = [{"role": "user", "content": content(THINGS, COUNT)}]
    answer = client.messages.parse(
        model=MODEL, max_tokens=32, messages=messages, output_format=Count, extra_body=STEADY
    )
    return answer.parsed_output.model_dump()


def calls_tool():
    schema = {**Count.model_json_schema(), "additionalProperties": False}
    tool = {"name": "report", "description": "Report.", "input_schema": schema, "strict": True}
    answer = ask(content(THINGS, COUNT), tools=[tool], tool_choice={"type": "tool", "name": "report"})
    call = next(block for block in answer.content if block.type == "tool_use")
    return {"name": call.name, "arguments": Count.model_validate(call.input).model_dump()}


def refusal(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.body["error"]["type"]]


def keeps_files():
    """A picture's life as a file, and what it is asked about by its id."""
    with NUMBER.open("rb") as data:
        file = client.files.upload(file=data, expires_in_seconds=7200)
    picture = {"type": "image", "source": {"type": "file", "file_id": file.id}}
    found = client.files.retrieve_metadata(file.id)
    listed = [[each.id for each in client.files.list(**query)] for query in ({}, {"limit": 1}, {"ids": [file.id]})]
    return {
        "metadata": [found.filename, found.mime_type, found.size_bytes, found.downloadable],
        "lives_s": (found.expires_at - found.created_at).total_seconds(),
        "listed": [file.id in ids for ids in listed],
        "content": digest(client.files.download(file.id).read()) == digest(NUMBER.read_bytes()),
        "as_source": ask([picture, {"type": "text", "text": READ}]).content[0].text,
        "deleted": client.files.delete(file.id).type == "file_deleted",
        "afterwards": refusal(lambda: client.files.retrieve_metadata(file.id)),
    }


def is_refused():
    stranger = client.with_options(api_key="sk-unknown")
    text = [{"role": "user", "content": "hi"}]
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    return {
        "picture": refusal(lambda: ask([{"type": "image", "source": source}])),
        "key": refusal(lambda: stranger.messages.create(model=MODEL, max_tokens=8, messages=text)),
        "model": refusal(lambda: client.messages.create(model="claude-none", max_tokens=8, messages=text)),
    }


def waits_and_tries_again():
    return ask([{"type": "text", "text": "hi"}]).content[0].text


tell(sees, streams, remembers, structures, calls_tool, keeps_files, is_refused, waits_and_tries_again)
