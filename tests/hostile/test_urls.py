"""Image URLs: every way to spell an address that is not public, and everything that is no image URL."""

import pytest

from server.images.addresses import Network
from tests.hostile.scene import CHAT, Scene
from tests.hostile.url_cases import HOSTS, NAMES, REFUSED
from tests.pictures import chat

NETWORK = Network(make_resolver=lambda: NAMES)
SETTINGS = {"images": {"allow_http": True, "deny_domains": ["denied.example"], "fetch_timeout_s": 5}}

# Nobody there, as far as the resolver knows.
UNKNOWN = {
    "IPv7": "https://[v1.x]/",
    "port in Arabic digits": "https://good.example:٤٤٣/",
    "a name that does not exist": "https://nobody.example/",
    "a name below a number": "https://1.2.3.4.nobody.example/",
    "punycode of nothing": "https://xn--ls8h.example/",
}


def part(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("name", HOSTS)
def test_a_host_that_is_not_to_be_reached_is_not(scene: Scene, name: str, scheme: str) -> None:
    answer = scene.post(CHAT, chat(part(f"{scheme}://{HOSTS[name]}:{scene.trap.port}/a.png")))
    error = scene.refused(answer, 400, "image_url_refused")
    assert error["param"] == "messages[0].content[0].image_url"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_url_is_refused(scene: Scene, name: str) -> None:
    answer = scene.post(CHAT, chat(part(REFUSED[name].replace("{port}", str(scene.trap.port)))))
    error = scene.refused(answer, 400, "image_url_refused")
    assert "good.example" not in error["message"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_answers_for_is_a_failed_fetch(scene: Scene, name: str) -> None:
    scene.refused(scene.post(CHAT, chat(part(UNKNOWN[name]))), 400, "image_fetch_failed")


def test_a_name_that_changes_its_mind_between_two_requests_gains_nothing(scene: Scene) -> None:
    for _ in range(4):
        answer = scene.post(CHAT, chat(part(f"https://first-nobody-then-inside.example:{scene.trap.port}/")))
        scene.refused(answer, 400, "image_url_refused")


def test_a_denied_name_is_not_even_looked_up(scene: Scene) -> None:
    assert NAMES.looked_up  # others were
    assert [name for name in NAMES.looked_up if "denied" in name.lower()] == []
