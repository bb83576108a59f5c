from pathlib import Path

import pytest

from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.encoder_revision import absolute, digest_sources, imports_of, versions

SOURCES = {
    "__init__.py": "",
    "model_executor/models/ours.py": "from .tower import Tower\nfrom vllm.layers.attention import (\n  A,\n)\n",
    "model_executor/models/tower.py": "from . import interfaces\nimport vllm.layers.norm\nimport torch\n",
    "model_executor/models/interfaces.py": "def late():\n    from vllm.layers import rope\n",
    "model_executor/models/another.py": "",
    "layers/__init__.py": "",
    "layers/attention.py": "from vllm import platform\n",
    "layers/norm.py": "",
    "layers/rope.py": "",
    "platform.py": "",
}
MODULE = "vllm.model_executor.models.ours"


@pytest.fixture
def vllm(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "vllm"


def changes(vllm: Path, name: str) -> bool:
    before = digest_sources(vllm, MODULE)
    with (vllm / name).open("a") as stream:
        stream.write("# changed\n")
    return digest_sources(vllm, MODULE) != before


@pytest.mark.parametrize("name", ["ours", "tower", "interfaces"])
def test_a_changed_model_or_one_that_it_imports_is_another_revision(vllm: Path, name: str) -> None:
    assert changes(vllm, f"model_executor/models/{name}.py")


@pytest.mark.parametrize("name", ["attention", "norm", "rope"])
def test_so_are_the_layers_of_any_of_them(vllm: Path, name: str) -> None:
    assert changes(vllm, f"layers/{name}.py")


@pytest.mark.parametrize("name", ["platform.py", "model_executor/models/another.py"])
def test_what_only_layers_import_or_nobody_is_the_versions_business(vllm: Path, name: str) -> None:
    assert not changes(vllm, name)


def test_a_class_that_is_none_of_vllms_has_no_revision(vllm: Path) -> None:
    for module in ("elsewhere.models", "vllm.model_executor.models.gone"):
        with pytest.raises(NoFingerprint):
            digest_sources(vllm, module)


def test_a_class_that_loads_weights_of_other_repositories_has_none(vllm: Path) -> None:
    (vllm / "model_executor/models/ours.py").write_text("    self.secondary_weights = []\n")
    with pytest.raises(NoFingerprint, match="not in the checkpoint"):
        digest_sources(vllm, MODULE)


def test_imports_are_read_as_python_means_them() -> None:
    text = (
        b"from .a import b, c as d\nfrom .. import e\nimport f.g\n  from vllm.h import (\n i)\n#from j import k\n"
    )
    assert imports_of(text, "vllm.m.n", is_package=False) == [
        "vllm.m.a", "vllm.m.a.b", "vllm.m.a.c", "vllm", "vllm.e", "f.g", "vllm.h",
    ]  # fmt: skip
    assert absolute(".x", "vllm.m", is_package=True) == "vllm.m.x"


def test_versions_are_told_in_order_and_missing_ones_too() -> None:
    assert versions({"b": "2", "a": "1"}) == "a 1 b 2"
    assert "pillow " in versions()
    assert "torchvision none" in versions()
