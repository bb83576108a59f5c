"""The order of the stages between a parsed request and its answer, nothing else."""

from dataclasses import replace

from server.admission.gates import Gates
from server.admission.limits.memory import Draw, Limits
from server.admission.price import PriceList, check_fits, template_tokens
from server.domain import (
    Cost,
    Deliver,
    LoadedImage,
    LoadedVideo,
    ParsedRequest,
    ReadyRequest,
    Tenant,
    Terms,
    costliest,
)
from server.engines.image_cache import ASKS, names_of
from server.engines.payload import make_payload
from server.engines.pool import EnginePool
from server.images.digest import identify
from server.images.resolve import ImageResolver
from server.images.videos import VideoResolver
from server.memory import Holding
from server.metrics import Metrics
from server.record import current_record


class Pipeline:
    """resolve images -> price -> limits -> admit -> choose engine -> relay."""

    def __init__(
        self,
        images: ImageResolver,
        videos: VideoResolver,
        prices: PriceList,
        limits: Limits,
        gates: Gates,
        pool: EnginePool,
        metrics: Metrics,
    ) -> None:
        self._images = images
        self._videos = videos
        self._prices = prices
        self._limits = limits
        self._gates = gates
        self._pool = pool
        self._metrics = metrics

    async def answer(
        self,
        request: ParsedRequest,
        tenant: Tenant,
        terms: Terms,
        request_id: str,
        holding: Holding,
        deliver: Deliver,
    ) -> None:
        """Lend the answer to `deliver`; its end gives the permit back and cancels what the engine still does.

        Once the answer begins, nothing of the request is held any more: what `holding` has taken is given back.
        """
        record = current_record()
        record.enter("images" if request.images else "price")
        context = self._pool.context_of(request.model)
        request = called_as_engines_do(request, self._pool.real_name(request.model))
        images = await self._images.resolve(request.images, tenant, holding) if request.images else []
        if request.videos:
            record.enter("videos")
        videos = await self._videos.resolve(request.videos, tenant, holding) if request.videos else []
        if images or videos:
            record.enter("price")
        for image in images:
            record.saw_image(image.digest, image.size_bytes)
        for video in videos:
            record.saw_image(video.digest, video.size_bytes)
        cost = self._prices.price(request, images)
        record.image_tokens = cost.image_tokens
        check_fits(cost, context, request, self._pool.most_tokens_of(request.model))
        if images:
            self._metrics.image_tokens.observe(cost.image_tokens)
        record.enter("limits")
        with self._limits.draw(tenant, cost, len(images) + len(videos)) as draw:
            if draw.undecided:
                await draw.decide()
            record.enter("write")
            ready = make_ready(request, images, videos, cost, tenant, terms, request_id)
            notes = image_notes(images)
            plain = not videos and not request.extra_bytes and request.prompts == 1
            template = template_tokens(request) if plain else None
            request.forget()
            del images, videos
            record.enter("admission")
            admission = self._gates.admit(cost, tenant, request.model, terms)
            async with admission as permit, self._pool.relay(ready, permit) as answer:
                draw.begin()
                ready.forget()
                holding.give_all()
                answer.image_notes, answer.limit_headers = notes, draw.headers()
                for outcome in answer.image_cache:
                    self._metrics.image_cache[outcome].inc()
                record.enter("relay")
                if record.span is not None and answer.image_cache:
                    record.span.attributes["fovea.image_cache"] = costliest(answer.image_cache)
                try:
                    await deliver(answer)
                finally:
                    self._learn(request, tenant, cost, draw, template, answer.events)

    def _learn(
        self, request: ParsedRequest, tenant: Tenant, cost: Cost, draw: Draw, template: int | None, events: int
    ) -> None:
        """From what the engine counted, where it told: for limits, metrics, and the next estimates of text, which
        are made of plain requests alone (one prompt, no videos, no tools): of others, `template` is None.

        Where it did not, and nothing was drawn for the answer, each of a stream's events counts as a token."""
        record = current_record()
        prompt, completion = record.prompt_tokens, record.completion_tokens
        if not prompt:
            if events and not cost.max_tokens:
                draw.settle(cost.total + events)
            return
        draw.settle(prompt + completion)
        self._metrics.count_tokens(request.model, prompt, completion)
        if template is not None and (cost.image_tokens or not request.images):
            text = prompt - cost.image_tokens - template
            self._prices.calibration.observe(request.model, tenant.name, request.text_bytes, text)


def make_ready(
    request: ParsedRequest,
    images: list[LoadedImage],
    videos: list[LoadedVideo],
    cost: Cost,
    tenant: Tenant,
    terms: Terms,
    request_id: str,
) -> ReadyRequest:
    """The request as the engine shall see it."""
    media: list[LoadedImage | LoadedVideo] = [*images, *videos]
    payload, slots = make_payload(request, media)
    affinity = media[0].digest if media else identify(bytes(payload[0][:1024]), tenant.name)
    headers = {"content-type": "application/json", "x-request-id": request_id}
    if slots and (names := names_of(slots)):
        headers[ASKS] = names
    return ReadyRequest(
        request.route, request.model, request.stream, cost, affinity, payload, headers, tenant.name, terms, slots
    )


def called_as_engines_do(request: ParsedRequest, name: str) -> ParsedRequest:
    """The same request of the model that the caller's alias stands for."""
    if name == request.model:
        return request
    request.body["model"] = name
    return replace(request, model=name)


def image_notes(images: list[LoadedImage]) -> str:
    """Which images engines see otherwise than they came, and how ("0=downscaled; 2=first-frame,lossy")."""
    return "; ".join(f"{index}={','.join(image.notes)}" for index, image in enumerate(images) if image.notes)
