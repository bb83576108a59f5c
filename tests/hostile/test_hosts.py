"""Image hosts that lie: redirects, broken answers, endless ones, certificates, cookies, proxies."""

import datetime
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from server.images.addresses import Network
from tests.hostile.host_cases import (
    ANSWERS,
    ENDLESS_302,
    FAILED,
    HELPERS,
    MAX_BYTES,
    PICTURE,
    REDIRECTS,
    REFUSED,
    STATUS,
    TOO_LARGE,
    UNSUPPORTED,
    Case,
    ok,
    to,
)
from tests.hostile.hosts import Host, listening
from tests.hostile.network import Names
from tests.hostile.scene import CHAT, Scene, scene
from tests.pictures import chat, data_url

NAMES = Names(
    {
        "pictures.example": [["127.0.0.1"]],
        "wrong.example": [["127.0.0.1"]],
        "inside.example": [["127.0.0.2"]],
        "rebound.example": [["127.0.0.1"], ["127.0.0.2"]],
        "metadata.google.internal": [["169.254.169.254"]],
        "both.example": [["127.0.0.2", "127.0.0.1"]],
    }
)
NETWORK = Network(lambda: NAMES, lambda address: address == "127.0.0.1")
GOOD = {
    "good": to(b"/good-2"),
    "good-2": to(b"/good-3", b"308 Permanent Redirect"),
    "good-3": to(b"/picture"),
    "cookie": [
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b; Domain=example\r\nLocation: /picture\r\nContent-Length: 0\r\n\r\n"
    ],
    "kept-long": [*ok(body=PICTURE), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"],
    "kept-next": ok(body=PICTURE),
    "etag": ok(b'ETag: "' + b"e" * 8000 + b'"', b"Cache-Control: max-age=0"),
}
# What a fetched video's refusal is, by that of a picture; the slowest answers are seen of pictures alone.
AS_VIDEO = {
    FAILED: (400, "video_fetch_failed"),
    REFUSED: (400, "video_url_refused"),
    TOO_LARGE: (413, "video_too_large"),
    UNSUPPORTED: (400, "invalid_video"),
}
SLOW = ("without end", "byte", "at a time", "slowly")
OF_VIDEOS = [*REDIRECTS, *(case for case in ANSWERS if not any(word in case.name for word in SLOW))]


def slug(case: Case) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in case.name)


@pytest.fixture(scope="module", name="authority")
def make_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module", name="scene")
def make_scene(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    ca_file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    images = {
        "ca_file": ca_file,
        "deny_domains": ["denied.example"],
        "fetch_timeout_s": 4.0,  # whole seconds more than an honest answer takes beside other tests
        "fetch_first_byte_s": 3.0,
        "max_bytes": MAX_BYTES,
        "max_redirects": 3,
    }
    video = {"max_count": 1, "max_bytes": MAX_BYTES}
    with pytest.MonkeyPatch.context() as patch, scene(NETWORK, images=images, video=video) as made:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.setenv(name, f"http://user:secret@127.0.0.1:{made.trap.port}")
        made.check_answers()
        yield made
        made.check_answers()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def with_trap(scripts: Mapping[str, Any], port: int) -> dict[str, Any]:
    """{trap} in what is sent becomes the trap's port."""

    def fill(script: Any) -> Any:
        if callable(script):
            return lambda own: (fill_step(step) for step in script(own))
        return [fill_step(step) for step in script]

    def fill_step(step: Any) -> Any:
        return step.replace(b"{trap}", b"%d" % port) if isinstance(step, bytes) else step

    return {path: fill(script) for path, script in scripts.items()}


@pytest.fixture(scope="module", name="host")
def make_host(scene: Scene, authority: trustme.CA) -> Iterator[Host]:
    certificate = authority.issue_cert("pictures.example", "rebound.example", "both.example", "inside.example")
    cases = {slug(case): case.script for case in [*REDIRECTS, *ANSWERS]}
    with listening(with_trap({**HELPERS, **GOOD, **cases}, scene.trap.port), server_context(certificate)) as host:
        yield host


def ask(scene: Scene, url: str) -> Any:
    return scene.post(CHAT, chat({"type": "image_url", "image_url": {"url": url}}))


def ask_of_a_video(scene: Scene, url: str) -> Any:
    return scene.post(CHAT, chat({"type": "video_url", "video_url": {"url": url}}))


def taken(scene: Scene, url: str, data: bytes = PICTURE) -> None:
    answer = ask(scene, url)
    assert answer.status_code == 200, answer.text
    parts = [body["messages"][0]["content"][0]["image_url"] for body in scene.engine.chats()]
    assert parts == [{"url": data_url(data)}]
    scene.engine.seen.clear()


@pytest.mark.parametrize("case", [*REDIRECTS, *ANSWERS], ids=lambda case: case.name)
def test_a_host_that_misbehaves_is_told_of_and_nothing_of_it_is_used(scene: Scene, host: Host, case: Case) -> None:
    error = scene.refused(ask(scene, host.url(slug(case))), STATUS[case.code], case.code)
    assert "example" not in error["message"]
    assert not any(b"secret" in asked for asked in host.asked)


@pytest.mark.parametrize("case", OF_VIDEOS, ids=lambda case: case.name)
def test_a_host_of_videos_is_bound_by_the_same(scene: Scene, host: Host, case: Case) -> None:
    status, code = AS_VIDEO[case.code]
    error = scene.refused(ask_of_a_video(scene, host.url(slug(case))), status, code)
    assert "example" not in error["message"]
    assert not any(b"secret" in asked for asked in host.asked)


def test_three_honest_hops_are_followed(scene: Scene, host: Host) -> None:
    taken(scene, host.url("good"))


def test_no_cookie_credential_or_referrer_goes_along(scene: Scene, host: Host) -> None:
    host.asked.clear()
    headers = {
        "authorization": "Bearer marker",
        "cookie": "marker=1",
        "x-api-key": "marker",
        "user-agent": "marker",
    }
    scene.http.headers.update(headers)
    try:
        taken(scene, host.url("cookie?a"))
    finally:
        for name in headers:
            del scene.http.headers[name]
    assert len(host.asked) == 2
    for asked in host.asked:
        names = {line.partition(b":")[0].lower() for line in asked.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
        assert b"marker" not in asked


def test_bytes_behind_an_answer_are_not_the_next_ones_answer(scene: Scene, host: Host) -> None:
    taken(scene, host.url("kept-long"))
    taken(scene, host.url("kept-next"))


def test_a_long_etag_is_not_sent_back(scene: Scene, host: Host) -> None:
    host.asked.clear()
    for _ in range(2):
        taken(scene, host.url("etag"))
    assert [b"if-none-match" in asked.lower() for asked in host.asked] == [False, False]


def test_a_name_that_turns_private_between_two_look_ups_gains_nothing(scene: Scene, host: Host) -> None:
    """DNS rebinding: public when first looked at, private when connected to next."""
    codes = []
    for turn in range(4):
        answer = ask(scene, host.url(f"picture?{turn}", "rebound.example"))
        codes.append(answer.json().get("error", {}).get("code", answer.status_code))
    assert set(codes) <= {200, "image_url_refused"}
    assert "image_url_refused" in codes
    assert all(b"rebound" in asked for asked in host.asked[-codes.count(200) :])
    scene.engine.seen.clear()


def test_a_name_with_a_private_address_among_public_ones_never_leads_to_it(scene: Scene, host: Host) -> None:
    answer = ask(scene, host.url("picture", "both.example"))
    assert answer.status_code in (200, 400)
    scene.engine.seen.clear()


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n", ENDLESS_302])
def test_who_does_not_stop_sending_is_cut_off(scene: Scene, authority: trustme.CA, start: bytes) -> None:
    """An endless body, endless headers, a redirect with an endless body: politely closed, TLS reads on for 30 s."""
    sent = 0

    def endless(_: int) -> Iterator[bytes | float]:
        nonlocal sent
        yield start
        while sent < 500_000_000:
            yield b"X: " + b"a" * 7996 + b"\r\n"
            sent += 8000

    certificate = authority.issue_cert("pictures.example")
    with listening({"endless": endless}, server_context(certificate)) as other:
        assert ask(scene, other.url("endless")).status_code in (400, 413)
        told = sent
        time.sleep(0.3)
        assert sent - told < 1_000_000


def expired(authority: trustme.CA) -> trustme.LeafCert:
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    return authority.issue_cert("pictures.example", not_before=then, not_after=then + datetime.timedelta(days=1))


def self_signed(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("pictures.example")


def wrong_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("other.example")


def of_an_address(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


def too_wide(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("*.pictures.example")


@pytest.mark.parametrize("make", [expired, self_signed, wrong_host, of_an_address, too_wide])
def test_a_certificate_that_does_not_hold_is_no_certificate(scene: Scene, authority: trustme.CA, make: Any) -> None:
    with listening({"picture": ok()}, server_context(make(authority))) as host:
        scene.refused(ask(scene, host.url("picture")), 400, "image_fetch_failed")
        assert host.asked == []


def test_old_tls_is_not_spoken(scene: Scene, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("pictures.example"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with listening({"picture": ok()}, context) as host:
        scene.refused(ask(scene, host.url("picture")), 400, "image_fetch_failed")


def test_a_host_without_tls_is_none(scene: Scene) -> None:
    with listening({"picture": ok()}, None) as host:
        scene.refused(ask(scene, host.url("picture")), 400, "image_fetch_failed")
        assert host.asked == []


def test_slow_hosts_do_not_hold_up_others(scene: Scene, host: Host) -> None:
    """As many as may be fetched from one host at once hang; another host's picture comes all the same."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(12))
        hanging = [pool.submit(ask, scene, host.url(f"silence?{n}", "rebound.example")) for n in range(12)]
        taken(scene, host.url("picture?alone"))
        for each in hanging:
            assert each.result().status_code == 400
