import socket

import pytest

from server.engine.launch_checks import check_model, check_port
from server.engine.vllm_build import LaunchError


@pytest.mark.parametrize("model", ["./none", "/none", "none", "a/b/c"])
def test_a_folder_that_is_no_checkpoint_is_refused(model: str) -> None:
    with pytest.raises(LaunchError, match=r"no config\.json"):
        check_model(model)


def test_a_hub_id_is_left_to_vllm() -> None:
    check_model("Qwen/Qwen3.5-9B")


def test_a_port_in_use_is_said_before_the_model_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LaunchError, match="choose another --port"):
            check_port("127.0.0.1", taken.getsockname()[1])
