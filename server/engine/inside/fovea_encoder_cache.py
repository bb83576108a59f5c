"""The embedding cache, as vLLM is told to load it: `"ec_connector_module_path": "fovea_encoder_cache"`."""

from fovea_packages import make_ours_importable

make_ours_importable()

from server.engine.encoder_cache.connector import FoveaEncoderCache  # noqa: E402

__all__ = ["FoveaEncoderCache"]
