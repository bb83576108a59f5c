"""litellm as a client: `python litellm_python.py URL KEY MODEL STEP...`"""

import json
import os

from steps import COUNT, HOW_MANY, KEY, MODEL, NUMBER, READ, THINGS, URL, data_url, digest, tell

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import asks the internet for prices

import litellm
from pydantic import BaseModel, Field

# Of models that it does not know it asks for whole answers and cuts them up itself.
litellm.register_model({MODEL: {"litellm_provider": "openai", "supports_native_streaming": True}})
GATEWAY = {"api_base": f"{URL}/v1", "api_key": KEY}


class Count(BaseModel):
    count: int = Field(ge=0, le=9)


def content(url, question):
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]


def ask(parts, **fields):
    messages = [{"role": "user", "content": parts}]
    fields = {**GATEWAY, "temperature": 0, "max_tokens": 96, **fields}
    return litellm.completion(model=f"openai/{MODEL}", messages=messages, **fields)


def sees():
    picture = {"type": "image_url", "image_url": {"url": data_url(NUMBER)}}
    question = {"type": "text", "text": "What number is written here? Reply with the digits only."}
    messages = [{"role": "user", "content": [picture, question]}]
    answer = litellm.completion(model=f"openai/{MODEL}", messages=messages, api_base=f"{URL}/v1", api_key=KEY)
    return answer.choices[0].message.content


def streams():
    chunks = [chunk.choices[0].delta.content for chunk in ask(content(data_url(NUMBER), READ), stream=True)]
    pieces = [text for text in chunks if text]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def remembers():
    messages = [
        {
            "role": "user",
            "content": content(data_url(THINGS), HOW_MANY),
        },
        {"role": "assistant", "content": "6"},
        {"role": "user", "content": HOW_MANY},
    ]
    answer = litellm.completion(model=f"openai/{MODEL}", messages=messages, temperature=0, max_tokens=8, **GATEWAY)
    return answer.choices[0].message.content


def structures():
    answer = ask(content(data_url(THINGS), COUNT), response_format=Count)
    return json.loads(answer.choices[0].message.content)


def calls_tool():
    schema = {**Count.model_json_schema(), "additionalProperties": False}
    function = {"name": "report", "description": "Report.", "parameters": schema, "strict": True}
    choice = {"type": "function", "function": {"name": "report"}}
    tool = {"type": "function", "function": function}
    answer = ask(content(data_url(THINGS), COUNT), tools=[tool], tool_choice=choice)
    call = answer.choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def responds():
    picture = {"type": "input_image", "image_url": data_url(NUMBER), "detail": "auto"}
    asked = [{"role": "user", "content": [picture, {"type": "input_text", "text": READ}]}]
    answer = litellm.responses(model=f"openai/{MODEL}", input=asked, temperature=0, max_output_tokens=32, **GATEWAY)
    return answer.output_text


def responds_in_pieces():
    picture = {"type": "input_image", "image_url": data_url(NUMBER), "detail": "auto"}
    asked = [{"role": "user", "content": [picture, {"type": "input_text", "text": READ}]}]
    fields = {"temperature": 0, "max_output_tokens": 32, "stream": True, **GATEWAY}
    events = litellm.responses(model=f"openai/{MODEL}", input=asked, **fields)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def keeps_files():
    where = {"custom_llm_provider": "openai", **GATEWAY}
    with NUMBER.open("rb") as data:
        file = litellm.create_file(file=("number.jpg", data.read()), purpose="vision", **where)
    return {
        "file": litellm.file_retrieve(file.id, **where).model_dump(),
        "listed": file.id in [each.id for each in litellm.file_list(purpose="vision", **where)],
        "content": digest(litellm.file_content(file.id, **where).content) == digest(NUMBER.read_bytes()),
        "as_url": ask(content(file.id, READ)).choices[0].message.content,
        "deleted": litellm.file_delete(file.id, **where).deleted,
    }


def refusal(call):
    try:
        call()
    except litellm.exceptions.APIError as error:
        return [type(error).__name__, error.status_code]
    except (litellm.BadRequestError, litellm.AuthenticationError, litellm.NotFoundError) as error:
        return [type(error).__name__, error.status_code]


def is_refused():
    text = [{"role": "user", "content": "hi"}]
    return {
        "picture": refusal(lambda: ask(content("data:image/png;base64,iVBORw0KGgo=", READ))),
        "key": refusal(lambda: ask(text[0]["content"], api_key="sk-unknown")),
        "model": refusal(lambda: litellm.completion(model="openai/gpt-none", messages=text, **GATEWAY)),
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
    keeps_files,
    is_refused,
    waits_and_tries_again,
)
