"""The embedding cache's part of vLLM's API server, as vLLM loads it: `--middleware fovea_embeddings.Embeddings`."""

from fovea_packages import make_ours_importable

make_ours_importable()

from server.engine.encoder_cache.edge import Embeddings  # noqa: E402

__all__ = ["Embeddings"]
