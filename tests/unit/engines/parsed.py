"""A parsed chat, made without the parser: engines know nothing of it."""

from server.domain import ImageSource, ParsedRequest


def parsed(*urls: str) -> ParsedRequest:
    parts: list[dict[str, object]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    sources = tuple(ImageSource(f"messages[0].content[{n}]", url, parts[n]) for n, url in enumerate(urls))
    body = {"model": "demo", "messages": [{"role": "user", "content": parts}]}
    return ParsedRequest("chat", "demo", False, None, 0, sources, body)
