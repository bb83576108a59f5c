"""What is told to forget reaches every tier that the connector of the engine keeps embeddings in."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.engine.cache_options import MODULE
from server.engine.encoder_cache.edge import forget_all, open_kept
from server.engine.encoder_cache.entry import key_of
from tests.unit.engine.encoder_cache.folders import NAMESPACE, OTHER, folder_tier, has, put


class Broken:
    def forget(self, key: str) -> bool:
        return False


def application(folder: Path, shared: Path, module: str = MODULE) -> Any:
    extra = {"folder": str(folder), "shared": str(shared)}
    transfer = SimpleNamespace(ec_connector_module_path=module, ec_connector_extra_config=extra)
    return SimpleNamespace(state=SimpleNamespace(vllm_config=SimpleNamespace(ec_transfer_config=transfer)))


@pytest.mark.parametrize("private", [False, True])
def test_an_embedding_is_gone_from_the_disk_and_from_what_is_shared_of_whatever_tower(
    tmp_path: Path, private: bool
) -> None:
    def namespace_of(_: Any) -> tuple[str, bool]:
        return ("f" * 64 if private else NAMESPACE), private

    with (
        folder_tier(tmp_path / "disk") as disk,
        folder_tier(tmp_path / "disk", namespace=OTHER) as other,
        folder_tier(tmp_path / "shared") as shared,
    ):
        tiers = [disk, other] if private else [disk, other, shared]
        for tier in tiers:
            assert put(tier, "cat")
            assert put(tier, "dog")
        forget = open_kept(application(tmp_path / "disk", tmp_path / "shared"), namespace_of)
        assert forget is not None
        assert forget(["cat", "bird"]) == 0
        assert [(has(tier, "cat"), has(tier, "dog")) for tier in tiers] == [(False, True)] * len(tiers)


def test_what_one_tier_cannot_forget_the_others_do() -> None:
    asked = []

    class Asked:
        def forget(self, key: str) -> bool:
            asked.append(key)
            return True

    assert forget_all([Broken(), Asked()], ["cat", "dog"]) == 2  # type: ignore[list-item]
    assert asked == [key_of("cat"), key_of("dog")]


def test_another_connectors_embeddings_are_not_ours_to_forget(tmp_path: Path) -> None:
    assert open_kept(application(tmp_path, tmp_path, module="theirs")) is None
    none = SimpleNamespace(state=SimpleNamespace(vllm_config=SimpleNamespace(ec_transfer_config=None)))
    assert open_kept(none) is None
    assert list(tmp_path.iterdir()) == []
