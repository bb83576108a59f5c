"""Asks an OpenAI-compatible endpoint about pictures, many at a time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import openai
from tqdm import tqdm

from quantize.evaluate.suite import Item


async def ask_all(url: str, model: str, items: Sequence[Item], concurrency: int = 8) -> list[str]:
    """The answers, in order. Raises openai.APIError."""
    slots = asyncio.Semaphore(concurrency)
    bar = tqdm(total=len(items), unit="question", mininterval=1)
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(item: Item) -> str:
            async with slots:
                answer = await ask_one(client, model, item.data_url, item.text)
            bar.update()
            return answer

        try:
            return await asyncio.gather(*(ask(item) for item in items))
        finally:
            bar.close()


async def ask_one(client: openai.AsyncOpenAI, model: str, picture: str, question: str) -> str:
    messages: list[Any] = [{"role": "user", "content": parts(picture, question)}]
    answer = await client.chat.completions.create(model=model, messages=messages, max_tokens=32, temperature=0)
    return (answer.choices[0].message.content or "").strip()


def parts(picture: str, question: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": question}]
