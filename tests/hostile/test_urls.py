"""Image URLs: every way to spell an address that is not public, and everything that is no image URL."""
# ruff: noqa: RUF001 - letters that look like others are the point

import pytest

from server.images.addresses import Network
from tests.hostile.network import Names
from tests.hostile.scene import CHAT, Scene
from tests.pictures import chat

NAMES = Names(
    {
        "metadata.google.internal": [["169.254.169.254"]],
        "instance-data.ec2.internal": [["169.254.169.254"]],
        "kubernetes.default.svc": [["10.96.0.1"]],
        "localtest.example": [["127.0.0.1"]],
        "localhost": [["127.0.0.1"]],
        "six.localtest.example": [["::1"]],
        "mapped.example": [["::ffff:127.0.0.1"]],
        "both.example": [["127.0.0.1", "::1"]],
        "scoped.example": [["fe80::1%lo"]],
        "first-nobody-then-inside.example": [["0.0.0.0"], ["127.0.0.1"]],
    }
)
NETWORK = Network(make_resolver=lambda: NAMES)
SETTINGS = {"images": {"allow_http": True, "deny_domains": ["denied.example"], "fetch_timeout_s": 5}}

# Hosts, each with the trap's port behind it: whatever connects to this machine is caught.
HOSTS = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.8.8.8",
    "loopback, decimal": "2130706433",
    "loopback, octal": "0177.0.0.01",
    "loopback, octal in one": "017700000001",
    "loopback, hex": "0x7f000001",
    "loopback, hex in parts": "0x7f.0x0.0x0.0x1",
    "loopback, two parts": "127.1",
    "loopback, three parts": "127.0.1",
    "loopback, with a dot behind": "127.0.0.1.",
    "loopback, full-width digits": "１２７.０.０.１",
    "loopback, circled digits": "①②⑦.⓪.⓪.①",
    "loopback, ideographic stops": "127。0。0。1",
    "loopback, half-width stop": "127｡0.0.1",
    "loopback, soft hyphen": "127.0.0.\u00ad1",
    "zero": "0",
    "zero, in full": "0.0.0.0",
    "this network": "0.1.2.3",
    "localhost": "localhost",
    "localhost, capitals": "LOCALHOST",
    "localhost, circled": "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "localhost, with a dot behind": "localhost.",
    "a name of loopback": "localtest.example",
    "a name of loopback, IPv6": "six.localtest.example",
    "a name of loopback, mapped": "mapped.example",
    "a name of both loopbacks": "both.example",
    "a name of a scoped address": "scoped.example",
    "IPv6 loopback": "[::1]",
    "IPv6 loopback, in full": "[0:0:0:0:0:0:0:1]",
    "IPv6 loopback, zeros": "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "IPv6 unspecified": "[::]",
    "IPv4-mapped": "[::ffff:127.0.0.1]",
    "IPv4-mapped, hex": "[::ffff:7f00:1]",
    "IPv4-mapped metadata": "[::ffff:169.254.169.254]",
    "IPv4-compatible": "[::127.0.0.1]",
    "IPv4-translated": "[::ffff:0:127.0.0.1]",
    "6to4": "[2002:7f00:1::]",
    "6to4 of a private address": "[2002:c0a8:101::1]",
    "NAT64": "[64:ff9b::7f00:1]",
    "NAT64, dotted": "[64:ff9b::127.0.0.1]",
    "NAT64 of a site": "[64:ff9b:1::7f00:1]",
    "Teredo": "[2001:0:7f00:1::]",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata, decimal": "2852039166",
    "metadata, hex": "0xa9fea9fe",
    "metadata, octal": "0251.0376.0251.0376",
    "metadata, short": "169.254.43518",
    "metadata of AWS, IPv6": "[fd00:ec2::254]",
    "metadata of GCP": "metadata.google.internal",
    "metadata of GCP, capitals and dot": "METADATA.google.Internal.",
    "metadata of EC2": "instance-data.ec2.internal",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "metadata of a container": "169.254.170.2",
    "the cluster's API": "kubernetes.default.svc",
    "private, 10/8": "10.0.0.1",
    "private, 172.16/12": "172.31.255.254",
    "private, 192.168/16": "192.168.0.1",
    "carrier-grade NAT": "100.64.0.1",
    "benchmarks": "198.18.0.1",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "6to4 relay": "192.88.99.1",
    "unique local": "[fc00::1]",
    "unique local, fd": "[fd12:3456::1]",
    "IPv6 link-local": "[fe80::1]",
    "IPv6 site-local": "[fec0::1]",
    "IPv6 multicast": "[ff02::1]",
    "IPv6 documentation": "[2001:db8::1]",
    "IPv6 documentation, new": "[3fff::1]",
    "IPv6 discard": "[100::1]",
    "IPv6 benchmarks": "[2001:2::1]",
    "IPv6 ORCHID": "[2001:20::1]",
    "IPv6 that nobody has": "[8000::1]",
    "denied": "denied.example",
    "denied, below": "a.b.denied.example",
    "denied, capitals": "DENIED.EXAMPLE",
    "denied, with a dot behind": "denied.example.",
    "denied, circled": "ⓓenied.example",
    "denied, full-width stop": "denied．example",
}
# {port} is the trap's.
REFUSED = {
    "user before a host": "https://good.example@127.0.0.1:{port}/",
    "password before a host": "https://good.example:443@127.0.0.1:{port}/",
    "empty user": "https://@127.0.0.1:{port}/",
    "user with an encoded at": "https://good.example%40x@127.0.0.1:{port}/",
    "fragment that looks like a host": "https://127.0.0.1:{port}#@good.example/",
    "query that looks like a host": "https://127.0.0.1:{port}?@good.example/",
    "semicolon": "https://127.0.0.1:{port};good.example/",
    "two at signs": "https://a@b@127.0.0.1:{port}/",
    "backslash before at": "https://good.example\\@127.0.0.1:{port}/",
    "backslashes": "https:\\\\127.0.0.1:{port}\\",
    "slashes missing": "https:127.0.0.1:{port}/",
    "slash missing": "https:/127.0.0.1:{port}/",
    "three slashes": "https:///127.0.0.1:{port}/",
    "tab in the host": "https://127.0.\t0.1:{port}/",
    "line break in the host": "https://127.0.\n0.1:{port}/",
    "line break in the scheme": "ht\ntps://127.0.0.1:{port}/",
    "NUL in the host": "https://127.0.0.1\x00.good.example:{port}/",
    "NUL, encoded, in the host": "https://127.0.0.1%00.good.example:{port}/",
    "space before": " https://127.0.0.1:{port}/",
    "space in the host": "https://127.0.0.1 .good.example:{port}/",
    "zone id": "https://[fe80::1%25lo]:{port}/",
    "zone id, raw": "https://[::1%lo]:{port}/",
    "zone id of two lines": "https://[::1%25\r\nHost: a]:{port}/",
    "IPv6 without brackets": "https://::1:{port}/",
    "IPv6 half in brackets": "https://[::1:{port}/",
    "IPv6 that is none": "https://[::g]/",
    "empty host": "https://:{port}/",
    "no host": "https://",
    "dots for a host": "https://../",
    "port 65536": "https://good.example:65536/",
    "port -1": "https://good.example:-1/",
    "port of letters": "https://good.example:https/",
    "port of 30 digits": "https://good.example:" + "9" * 30 + "/",
    "relative": "a.png",
    "rooted": "/etc/passwd",
    "of any scheme": "//127.0.0.1:{port}/",
    "file": "file:///etc/passwd",
    "file, of a host": "file://127.0.0.1/etc/passwd",
    "file, capitals": "FILE:///etc/passwd",
    "ftp": "ftp://127.0.0.1:{port}/",
    "gopher": "gopher://127.0.0.1:{port}/_GET",
    "jar": "jar:https://127.0.0.1:{port}/a.zip!/a.png",
    "websocket": "wss://127.0.0.1:{port}/",
    "javascript": "javascript:alert(1)",
    "blob": "blob:https://127.0.0.1:{port}/1",
    "unix socket": "unix:///var/run/docker.sock",
    "http over a unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/images/json",
    "dict": "dict://127.0.0.1:{port}/info",
    "ldap": "ldap://127.0.0.1:{port}/",
    "about": "about:blank",
    "view-source": "view-source:https://127.0.0.1:{port}/",
    "a scheme of Kelvin signs": "\u212attps://127.0.0.1:{port}/",
    "long s for a scheme": "http\u017f://127.0.0.1:{port}/",
    "host of 300 letters": "https://" + "a" * 300 + ".example/",
    "URL of 100,000 bytes": "https://127.0.0.1:{port}/" + "a" * 100_000,
    "surrogate": "https://127.0.0.1:{port}/\U0001f600",
    "right-to-left override": "https://\u202e127.0.0.1:{port}/",
    "punycode that is none": "https://xn--a-\u0000:{port}/",
    "punycode of an empty label": "https://xn--/",
    "port 0": "https://localtest.example:0/",
    "five numbers": "https://127.0.0.0.1/",
    "number too large": "https://127.0.0.256/",
    "number of 40 bits": "https://1099511627776/",
    "host, percent-encoded": "https://%31%32%37.0.0.1:{port}/",
    "host in braces": "https://{{127.0.0.1}}/",
    "label of 64 letters": "https://" + "a" * 64 + ".example/",
    "wildcard": "https://*.example/",
    "name that begins with a dot": "https://.example/",
    "name that ends with two dots": "https://good.example../",
    "name with a hyphen in front": "https://-a.example/",
    "a tuple of Python's": "('https', 'a')",
}
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
