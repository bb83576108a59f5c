"""What a request would cost, and whether it fits, told instead of asking an engine: POST /v1/estimate.

Takes the pipeline's place behind the same endpoint: the request is parsed, and its pictures fetched and checked, as
any other's.
"""

from collections.abc import AsyncGenerator, Sequence

import orjson

from server.admission.limits.memory import Limits
from server.admission.price import PriceList, check_fits
from server.domain import Answer, Cost, Deliver, Json, LoadedImage, LoadedVideo, ParsedRequest, Tenant, Terms
from server.engines.capacity import EngineReport
from server.engines.pool import EnginePool
from server.errors import CallerError, ContextTooLong, KvCacheExceeded
from server.images.resolve import ImageResolver
from server.images.videos import VideoResolver
from server.memory import Holding
from server.record import current_record

NOBODY = "none"  # in the place of an engine's name


class Estimator:
    """Has the pipeline's `answer`, and calls no engine. Each estimate counts as a request without tokens."""

    def __init__(
        self, images: ImageResolver, videos: VideoResolver, prices: PriceList, limits: Limits, pool: EnginePool
    ) -> None:
        self._images = images
        self._videos = videos
        self._prices = prices
        self._limits = limits
        self._pool = pool

    async def answer(
        self,
        request: ParsedRequest,
        tenant: Tenant,
        terms: Terms,
        request_id: str,
        holding: Holding,
        deliver: Deliver,
    ) -> None:
        context = self._pool.context_of(request.model)
        model = self._pool.real_name(request.model)
        with self._limits.draw(tenant, Cost(0, 0, 0), len(request.images) + len(request.videos)) as draw:
            if draw.undecided:
                await draw.decide()
            images = await self._images.resolve(request.images, tenant, holding)
            videos = await self._videos.resolve(request.videos, tenant, holding)
            record = current_record()
            media: list[LoadedImage | LoadedVideo] = [*images, *videos]
            for each in media:
                record.saw_image(each.digest, each.size_bytes)
            told = self.estimate(request, model, images, len(videos), context)
            draw.begin()
            request.forget()
            holding.give_all()
            body = orjson.dumps(told)
            headers = draw.headers()
            await deliver(Answer(200, "application/json", NOBODY, once(body), limit_headers=headers, whole=body))

    def estimate(
        self, request: ParsedRequest, model: str, images: Sequence[LoadedImage], videos: int, context: int | None
    ) -> Json:
        """The arithmetic, as it is told."""
        rule, calibration = self._prices.rule_of(model), self._prices.calibration
        tokens = self._prices.image_tokens(model, images)
        cost = self._prices.price_of(model, sum(tokens), request)
        known = rule is not None or not images
        refusal: CallerError | None = None
        try:
            check_fits(cost, context, request, self._pool.most_tokens_of(model))
        except (ContextTooLong, KvCacheExceeded) as problem:
            refusal = problem
        return {
            "object": "estimate",
            "model": request.model,
            "images": [
                {
                    "width": image.width,
                    "height": image.height,
                    "tokens": count if rule is not None else None,
                    "rule": rule.name if rule is not None else None,
                    "notes": list(image.notes),
                }
                for image, count in zip(images, tokens, strict=True)
            ],
            "videos": {"count": videos, "tokens": None if videos else 0},
            "text": {
                "bytes": request.text_bytes,
                "tokens": cost.text_tokens,
                "bytes_per_token": round(calibration.bytes_per_token(model), 3),
                "calibrated_by": calibration.heard(model),
            },
            "image_tokens": cost.image_tokens if known else None,
            "prompt_tokens": cost.image_tokens + cost.text_tokens,
            "max_tokens": request.max_tokens,
            "total_tokens": cost.total,
            "complete": known and not videos,
            "context": context,
            "fits": refusal is None,
            "refusal": refusal.message if refusal is not None else None,
            "refusal_code": refusal.code if refusal is not None else None,
            "kv": kv_of(cost, self._pool.reports(model)),
        }


def kv_of(cost: Cost, reports: list[EngineReport]) -> Json:
    """KV memory that it would hold at its end, and whether some ready engine has as much to spare now; None where
    no engine tells."""
    sizes = [report.kv_bytes_per_token for report in reports if report.kv_bytes_per_token is not None]
    most = [report.most_tokens for report in reports if report.most_tokens is not None]
    spare = [
        report.blocks_for(cost.total) <= report.blocks * (1 - report.kv_usage)  # type: ignore[operator]
        for report in reports
        if report.blocks and report.kv_usage is not None and report.blocks_per_token is not None
    ]
    return {
        "bytes": round(cost.total * max(sizes)) if sizes else None,
        "engine_tokens": max(most, default=None),
        "fits_ever": cost.total <= max(most) if most else None,
        "fits_now": any(spare) if spare else None,
    }


async def once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
