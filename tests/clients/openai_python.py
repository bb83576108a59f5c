"""The openai SDK: `python openai_python.py URL KEY MODEL STEP...`"""

import openai
from pydantic import BaseModel, Field
from steps import COUNT, HOW_MANY, KEY, MODEL, NUMBER, READ, THINGS, URL, data_url, digest, tell

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)


class Count(BaseModel):
    count: int = Field(ge=0, le=9)


def content(url, question):
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]


def ask(parts, **fields):
    messages = [{"role": "user", "content": parts}]
    return client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=96, **fields)


def sees():
    picture = {"type": "image_url", "image_url": {"url": data_url(NUMBER)}}
    question = {"type": "text", "text": "What number is written here? Reply with the digits only."}
    messages = [{"role": "user", "content": [picture, question]}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    return answer.choices[0].message.content


def streams():
    chunks = list(ask(content(data_url(NUMBER), READ), stream=True, stream_options={"include_usage": True}))
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    return {"text": "".join(pieces), "pieces": len(pieces), "tokens": chunks[-1].usage.completion_tokens}


def remembers():
    """A second question about the picture of the first."""
    messages = [
        {
            "role": "user",
            "content": content(data_url(THINGS), HOW_MANY),
        },
        {"role": "assistant", "content": "6"},
        {"role": "user", "content": HOW_MANY},
    ]
    answer = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=8)
    return answer.choices[0].message.content


def structures():
    messages = [{"role": "user", "content": content(data_url(THINGS), COUNT)}]
    answer = client.chat.completions.parse(
        model=MODEL, messages=messages, response_format=Count, temperature=0, max_tokens=32
    )
    return answer.choices[0].message.parsed.model_dump()


def calls_tool():
    tool = openai.pydantic_function_tool(Count, name="report")
    choice = {"type": "function", "function": {"name": "report"}}
    answer = ask(content(data_url(THINGS), COUNT), tools=[tool], tool_choice=choice)
    call = answer.choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": Count.model_validate_json(call.arguments).model_dump()}


def responds():
    picture = {"type": "input_image", "image_url": data_url(NUMBER), "detail": "auto"}
    asked = [{"role": "user", "content": [picture, {"type": "input_text", "text": READ}]}]
    return client.responses.create(model=MODEL, input=asked, temperature=0, max_output_tokens=32).output_text


def responds_in_pieces():
    picture = {"type": "input_image", "image_url": data_url(NUMBER), "detail": "auto"}
    asked = [{"role": "user", "content": [picture, {"type": "input_text", "text": READ}]}]
    with client.responses.stream(model=MODEL, input=asked, temperature=0, max_output_tokens=32) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        return {"text": "".join(pieces), "pieces": len(pieces), "final": stream.get_final_response().output_text}


def responds_in_shape():
    picture = {"type": "input_image", "image_url": data_url(THINGS), "detail": "auto"}
    asked = [{"role": "user", "content": [picture, {"type": "input_text", "text": COUNT}]}]
    answer = client.responses.parse(
        model=MODEL, input=asked, text_format=Count, temperature=0, max_output_tokens=32
    )
    return answer.output_parsed.model_dump()


def keeps_files():
    """A picture's life as a file, and what it is asked about by its id on both surfaces."""
    with NUMBER.open("rb") as data:
        file = client.files.create(file=data, purpose="vision")
    named = [{"type": "input_image", "file_id": file.id, "detail": "auto"}, {"type": "input_text", "text": READ}]
    part = {"type": "file", "file": {"file_id": file.id}}
    by_response = client.responses.create(model=MODEL, input=[{"role": "user", "content": named}], temperature=0)
    told = {
        "file": client.files.retrieve(file.id).to_dict(),
        "listed": file.id in [each.id for each in client.files.list(purpose="vision")],
        "content": digest(client.files.content(file.id).read()) == digest(NUMBER.read_bytes()),
        "as_url": ask(content(file.id, READ)).choices[0].message.content,
        "as_file": ask([part, {"type": "text", "text": READ}]).choices[0].message.content,
        "as_input_image": by_response.output_text,
        "deleted": client.files.delete(file.id).deleted,
    }
    return told | {"afterwards": refusal(lambda: client.files.retrieve(file.id))}


def lists_models():
    return [model.id for model in client.models.list()]


def refusal(call):
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]


def is_refused():
    stranger = client.with_options(api_key="sk-unknown")
    text = [{"role": "user", "content": "hi"}]
    return {
        "picture": refusal(lambda: ask(content("data:image/png;base64,iVBORw0KGgo=", READ))),
        "key": refusal(stranger.models.list),
        "model": refusal(lambda: client.chat.completions.create(model="gpt-none", messages=text)),
        "file": refusal(lambda: ask(content("file-00000000000000000000000000000000", READ))),
    }


def waits_and_tries_again():
    return ask([{"type": "text", "text": "hi"}]).choices[0].message.content


tell(
    sees,
    streams,
    remembers,
    structures,
    calls_tool,
    responds,
    responds_in_pieces,
    responds_in_shape,
    keeps_files,
    lists_models,
    is_refused,
    waits_and_tries_again,
)
