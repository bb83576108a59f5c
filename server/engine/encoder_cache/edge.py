"""The embedding cache's part of vLLM's API server, put together: `inside/fovea_embeddings.py` names it to vLLM."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from server.engine.cache_options import MODULE
from server.engine.encoder_cache.deployment import namespace_of
from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.forgetting import Forget, Forgets
from server.engine.encoder_cache.opening import open_tiers
from server.engine.encoder_cache.options import options_here
from server.engine.encoder_cache.telling import App, Message, Receive, Send, TellsOutcomes
from server.engine.encoder_cache.tier import Tier


class Embeddings:
    """ASGI middleware. Answers tell where their pictures' embeddings came from; what is kept can be forgotten."""

    def __init__(self, app: App) -> None:
        self._app = TellsOutcomes(Forgets(app, open_kept))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def open_kept(application: Any, namespace_of: Callable[[Any], tuple[str, bool]] = namespace_of) -> Forget | None:
    """What forgets wherever the connector of this engine keeps embeddings; None where it is another's, or none.

    vLLM's application carries its configuration.
    """
    config = application.state.vllm_config
    transfer = config.ec_transfer_config
    if transfer is None or transfer.ec_connector_module_path != MODULE:
        return None
    namespace, private = namespace_of(config)
    tiers = open_tiers(options_here(transfer.ec_connector_extra_config), namespace, private, os.environ)
    return lambda identifiers: forget_all(tiers, identifiers)


def forget_all(tiers: Sequence[Tier], identifiers: Sequence[str]) -> int:
    """How many may still be in one of them."""
    left = 0
    for identifier in identifiers:
        key = key_of(identifier)
        forgotten = [tier.forget(key) for tier in tiers]  # each is asked, whatever another says
        left += not all(forgotten)
    return left
