import os
import subprocess
import sys
from pathlib import Path

import pytest

STARTUP = Path(__file__).parents[3] / "server/engine/startup"


def test_what_vllm_is_started_with_costs_nothing_until_it_is_needed() -> None:
    script = "import sys; assert 'sitecustomize' in sys.modules; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(STARTUP)}, check=True)


@pytest.mark.parametrize(("cuda", "hidden"), [("None", True), ("'13.0'", False)])
def test_bf16_instructions_are_hidden_where_torch_has_no_cuda(tmp_path: Path, cuda: str, hidden: bool) -> None:
    (tmp_path / "torch.py").write_text(
        f"class version: cuda = {cuda}\nclass cpu:\n  _is_avx512_bf16_supported = staticmethod(lambda: True)\n"
    )
    (tmp_path / "vllm/platforms").mkdir(parents=True)
    (tmp_path / "vllm/platforms/cpu.py").write_text("import torch\nsees = torch.cpu._is_avx512_bf16_supported()\n")
    script = f"import vllm.platforms.cpu as cpu; assert cpu.sees is not {hidden}"
    path = os.pathsep.join([str(STARTUP), str(tmp_path)])
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": path}, check=True)
