"""langchain-openai: `python langchain_openai_python.py URL KEY MODEL STEP...`"""

import openai
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field
from steps import COUNT, HOW_MANY, KEY, MODEL, NUMBER, READ, THINGS, URL, data_url, in_base64, tell

chat = ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, temperature=0, max_tokens=96)
responses = chat.model_copy(update={"use_responses_api": True})


class Count(BaseModel):
    """How many objects there are."""

    count: int = Field(ge=0, le=9, description="the number of objects")


def asked(path, question):
    picture = {"type": "image_url", "image_url": {"url": data_url(path)}}
    return HumanMessage([picture, {"type": "text", "text": question}])


def sees():
    picture = {"type": "image", "base64": in_base64(NUMBER), "mime_type": "image/jpeg"}
    question = {"type": "text", "text": "What number is written here? Reply with the digits only."}
    answer = chat.invoke([HumanMessage([picture, question])])
    return answer.text


def streams():
    chunks = [chunk.text for chunk in chat.stream([asked(NUMBER, READ)])]
    pieces = [text for text in chunks if text]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def remembers():
    return chat.invoke([asked(THINGS, HOW_MANY), AIMessage("6"), HumanMessage(HOW_MANY)]).text


def structures():
    return chat.with_structured_output(Count, method="json_schema").invoke([asked(THINGS, COUNT)]).model_dump()


def calls_tool():
    answer = chat.bind_tools([Count], tool_choice="Count", strict=True).invoke([asked(THINGS, COUNT)])
    return {"name": answer.tool_calls[0]["name"], "arguments": answer.tool_calls[0]["args"]}


def responds():
    return responses.invoke([asked(NUMBER, READ)]).text


def responds_in_pieces():
    chunks = [chunk.text for chunk in responses.stream([asked(NUMBER, READ)])]
    pieces = [text for text in chunks if text]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def keeps_files():
    """langchain sends ids of files that the openai SDK made."""
    with NUMBER.open("rb") as data:
        file = chat.root_client.files.create(file=data, purpose="vision")
    part = {"type": "image_url", "image_url": {"url": file.id}}
    answer = chat.invoke([HumanMessage([part, {"type": "text", "text": READ}])])
    return {"as_url": answer.text, "deleted": chat.root_client.files.delete(file.id).deleted}


def refusal(chat, *messages):
    try:
        chat.invoke(list(messages))
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]


def is_refused():
    text = HumanMessage("hi")
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    return {
        "picture": refusal(chat, HumanMessage([broken])),
        "key": refusal(ChatOpenAI(base_url=f"{URL}/v1", api_key="sk-unknown", model=MODEL), text),
        "model": refusal(ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model="gpt-none"), text),
    }


def waits_and_tries_again():
    return chat.invoke("hi").text


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
