"""What an engine is sent: JSON, with the images' base64 between its pieces and never in one piece with it.

Base64 that came in a body goes out as it came, out of the body's own bytes; it is copied by nobody but the kernel.
"""

from collections.abc import Collection, Iterable, Sequence

import orjson

from server.domain import ImageSource, LoadedImage, LoadedVideo, MediaSlot, ParsedRequest, Payload, Route
from server.marks import make_mark, make_nonce, split_at_marks

Media = LoadedImage | LoadedVideo
NAMING_ROUTES: Collection[Route] = ("chat", "responses")
# Three colours, twice (two frames, for still pictures as well), two bytes each: Qwen's processor, in vLLM's BF16.
PROCESSED_BYTES_PER_PIXEL = 12


def make_payload(request: ParsedRequest, media: Sequence[Media]) -> tuple[Payload, tuple[MediaSlot, ...]]:
    """Put the checked images and our identity in place of what the caller sent, and serialise once.

    `media` are the request's images and then its videos. The slots are of those that may be sent by name alone.
    """
    sources = (*request.images, *request.videos)
    if not sources:
        return (orjson.dumps(request.body),), ()
    nonce = request.nonce or make_nonce()
    for number, (source, each) in enumerate(zip(sources, media, strict=True)):
        write_media(source, each, make_mark(nonce, number))
    first, rest = split_at_marks(orjson.dumps(request.body), nonce)
    # Ours alone could have put a mark elsewhere: never let one out.
    if sorted(number for number, _ in rest) != list(range(len(media))):
        raise RuntimeError("the marks of a payload are not those of its images")
    chunks: list[bytes | memoryview] = [first]
    slots: list[MediaSlot] = []
    for number, piece in rest:
        each = media[number]
        # Tokenizing looks into no cache (vLLM 0.32), and nobody has tried videos.
        if isinstance(each, LoadedImage) and request.route in NAMING_ROUTES:
            slots.append(make_slot(sources[number], each, len(chunks)))
        chunks += (each.encoded, piece)
    return tuple(chunks), tuple(slots)


def make_slot(source: ImageSource, image: LoadedImage, chunk: int) -> MediaSlot:
    """What belongs to the picture is as `write_media` and orjson have written it."""
    url = len(f'"data:{image.media_type};base64,')
    size = image.width * image.height * PROCESSED_BYTES_PER_PIXEL
    if source.shape == "responses":
        return MediaSlot(image.digest, chunk, url, len('"'), size)
    tail = '"}' if source.detail == "auto" else f'","detail":"{source.detail}"}}'
    return MediaSlot(image.digest, chunk, len('{"url":') + url, len(tail), size)


def name_instead(payload: Payload, slots: Iterable[MediaSlot], digests: Collection[str]) -> Payload:
    """The same with `null` for the pictures of these digests: their engine knows them by their `uuid`."""
    chunks = list(payload)
    for slot in slots:
        if slot.digest in digests:
            chunks[slot.chunk - 1] = chunks[slot.chunk - 1][: -slot.head]
            chunks[slot.chunk] = b"null"
            chunks[slot.chunk + 1] = chunks[slot.chunk + 1][slot.tail :]
    return tuple(chunks)


def write_media(source: ImageSource, media: Media, encoded: str) -> None:
    """The part as its route's engine takes it, whatever the caller wrote; nothing of that is left but `detail`."""
    url = f"data:{media.media_type};base64,{encoded}"
    source.part.clear()
    if source.shape == "responses":
        # vLLM's types ask for a detail here, and its parser reads the rest of a part that has a uuid as it comes.
        source.part.update(type="input_image", image_url=url, detail=source.detail, uuid=media.digest)
    elif source.shape == "video":
        source.part.update(type="video_url", video_url={"url": url}, uuid=media.digest)
    else:
        written = {"url": url} if source.detail == "auto" else {"url": url, "detail": source.detail}
        source.part.update(type="image_url", image_url=written, uuid=media.digest)
