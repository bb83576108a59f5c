import pytest

from server.together import environment


@pytest.mark.parametrize(
    ("ours", "terminal", "form"),
    [
        ({}, True, "text"),
        ({}, False, None),
        ({"FOVEA_LOGS__FORMAT": "json"}, True, "json"),
        ({"FOVEA_CONFIG": "fovea.yaml"}, True, None),
    ],
)
def test_who_sits_at_a_terminal_reads_text_unless_it_is_set_otherwise(
    ours: dict[str, str], terminal: bool, form: str | None
) -> None:
    made = environment({"PATH": "/bin", **ours}, terminal)
    assert made.get("FOVEA_LOGS__FORMAT") == form
    assert (made["PATH"], made["PYTHONUNBUFFERED"]) == ("/bin", "1")
