"""What proxies in front of the gateway are told follows from its settings, and is more than it allows itself."""

import base64
import io
import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from PIL import Image
from pydantic import ByteSize, TypeAdapter

from helm.template import CHART, Manifest, find_helm, objects, render, run_helm
from server.api.own_host import OwnHost
from server.settings import Settings
from server.trial import QUESTION, draw_square
from tests.chart.rendering import NEWEST, OWN, refusal, rendered
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("helms")
NGINX = "nginx.ingress.kubernetes.io/"
# Their own defaults: upstream-keepalive-timeout, forwardingTimeouts.idleConnTimeout.
INGRESS_NGINX_KEEPS_S, TRAEFIK_KEEPS_S = 60, 90
GUIDE = ROOT / "docs" / "guides" / "behind-a-proxy.md"
EDGE = OWN / "edge.yaml"
TOLD_DEFAULT = re.compile(r'"section" "(\w+)" "name" "(\w+)" "default" ("[^"]*"|\d+)')


def one(kind: str, manifests: tuple[Manifest, ...] | list[Manifest]) -> Manifest:
    [found] = [each for each in manifests if each["kind"] == kind]
    return found


def edge(*config: str, monitored: bool = True) -> list[Manifest]:
    """The case `edge` with other settings of the gateway, each a key's path below gateway.config and its JSON."""
    if not config:
        return list(rendered(NEWEST, "own-edge"))
    program = find_helm(NEWEST)
    assert program is not None
    sets = [option for each in config for option in ("--set-json", f"gateway.config.{each}")]
    if not monitored:
        sets += ["--set", "monitoring.serviceMonitor.enabled=false"]
    return objects(render(program, "--values", str(EDGE), *sets))


def nginx(manifests: list[Manifest]) -> dict[str, str]:
    found = one("Ingress", manifests)["metadata"]["annotations"]
    return {name.removeprefix(NGINX): value for name, value in found.items()}


def longest_silence(settings: Settings) -> float:
    """Of an answer that is not streamed, tried at two engines; of a stream; of a caller that asked to wait."""
    own = settings.http.bytes_wait_s + settings.admission.wait_timeout_s + 2 * settings.engines.first_byte_timeout_s
    return max(own, settings.admission.max_timeout_s, settings.engines.idle_timeout_s)


def longest_answer(settings: Settings) -> float:
    sending = settings.http.head_timeout_s + settings.http.body_timeout_s
    return sending + longest_silence(settings) + settings.engines.total_timeout_s


def test_defaults_that_templates_know_are_those_of_the_gateway() -> None:
    told = {
        match.groups()
        for path in CHART.glob("templates/edge/*")
        for match in TOLD_DEFAULT.finditer(path.read_text())
    }
    assert len(told) > 12
    for section, name, said in told:
        own = getattr(getattr(Settings(), section), name)
        default = json.loads(said)
        if isinstance(own, ByteSize):
            default = TypeAdapter(ByteSize).validate_python(default)
        assert (own or "") == default, f"{section}.{name}"


def test_a_body_that_is_a_little_too_large_is_refused_by_the_gateway_and_not_before() -> None:
    told = nginx(edge())["proxy-body-size"]
    assert told.endswith("m")
    assert int(told[:-1]) * 1024**2 > Settings().http.max_body


@pytest.mark.parametrize(
    ("size", "told"),
    [('"64MiB"', "65m"), ('"50MB"', "49m"), ("104857600", "101m"), ('"1.5GiB"', "1537m"), ('"9000 KiB"', "10m")],
)
def test_a_limit_of_bodies_that_is_set_is_passed_on(size: str, told: str) -> None:
    assert nginx(edge(f"http.max_body={size}"))["proxy-body-size"] == told


def test_files_that_are_uploaded_pass_as_well() -> None:
    files = 'files={"path": "/tmp/files", "s3_bucket": "b"}'
    manifests = edge(files, 'images.max_bytes="90MiB"', "files.upload_timeout_s=900")
    told = nginx(manifests)
    assert (told["proxy-body-size"], told["proxy-send-timeout"]) == ("92m", "915")
    assert one("ClientTrafficPolicy", manifests)["spec"]["timeout"]["http"]["requestReceivedTimeout"] == "915s"


def test_nginx_holds_nothing_back_and_keeps_no_picture_on_its_disk() -> None:
    told = nginx(edge())
    assert told["proxy-buffering"] == told["proxy-request-buffering"] == "off"
    assert told["proxy-max-temp-file-size"] == "0"


def test_annotations_are_the_directives_that_the_guide_has_a_real_nginx_run() -> None:
    """tests/contract/test_behind_nginx.py sends pictures and streams through these."""
    block = re.search(r"location /v1/ \{(.*?)\n  \}", GUIDE.read_text(), re.DOTALL)
    assert block is not None
    directives = dict(re.findall(r"^\s*(\w+) ([^;]+);", block[1], re.MULTILINE))
    told = nginx(edge('files={"path": "/tmp/files", "s3_bucket": "b"}'))  # the guide's lets files through, too
    assert directives["client_max_body_size"] == told["proxy-body-size"]
    for name in ("connect", "send", "read"):
        assert directives[f"proxy_{name}_timeout"] == f"{told[f'proxy-{name}-timeout']}s"
    for name in ("request-buffering", "buffering", "http-version", "next-upstream", "next-upstream-tries"):
        assert directives[f"proxy_{name.replace('-', '_')}"] == told[f"proxy-{name}"]


@pytest.mark.parametrize(
    "config",
    [
        (),
        ("engines.first_byte_timeout_s=1800",),
        ("admission.max_timeout_s=7200",),
        ("engines.idle_timeout_s=5000", "engines.total_timeout_s=86400"),
        ("http.bytes_wait_s=0.5", "http.body_timeout_s=300.5"),
    ],
)
def test_no_proxy_cuts_off_what_the_gateway_still_waits_for(config: tuple[str, ...]) -> None:
    said: dict[str, dict[str, Any]] = {}
    for each in config:
        path, _, value = each.partition("=")
        section, _, name = path.partition(".")
        said.setdefault(section, {})[name] = json.loads(value)
    settings, manifests = Settings(**said), edge(*config)
    silence, answer = longest_silence(settings), longest_answer(settings)
    assert silence < int(nginx(manifests)["proxy-read-timeout"]) <= silence + 60
    assert int(nginx(manifests)["proxy-send-timeout"]) > settings.http.body_timeout_s
    [rule] = one("HTTPRoute", manifests)["spec"]["rules"]
    backend = one("BackendTrafficPolicy", manifests)["spec"]["timeout"]["http"]
    caller = one("ClientTrafficPolicy", manifests)["spec"]["timeout"]["http"]
    for told in (rule["timeouts"]["request"], rule["timeouts"]["backendRequest"], backend["requestTimeout"]):
        assert answer < duration(told) <= answer + 120
    for told in (backend["streamIdleTimeout"], caller["streamIdleTimeout"]):
        assert silence < duration(told) <= silence + 60
    assert duration(caller["requestReceivedTimeout"]) > settings.http.body_timeout_s + settings.http.head_timeout_s


def duration(text: str) -> int:
    assert re.fullmatch(r"[0-9]{1,5}s", text), f"Gateway API takes no {text}"
    return int(text[:-1])


def test_envoy_lets_a_filter_see_a_whole_body_and_counts_more_streams_than_its_default() -> None:
    for kind in ("BackendTrafficPolicy", "ClientTrafficPolicy"):
        assert one(kind, edge())["spec"]["connection"]["bufferLimit"] == "33Mi"
    breaker = one("BackendTrafficPolicy", edge())["spec"]["circuitBreaker"]
    assert set(breaker) == {"maxConnections", "maxParallelRequests", "maxPendingRequests"}
    assert min(breaker.values()) > 1024


def test_the_gateway_keeps_idle_connections_for_longer_than_whoever_is_in_front() -> None:
    config = next(each for each in edge() if each["kind"] == "ConfigMap" and "fovea.yaml" in each["data"])
    kept = yaml.safe_load(config["data"]["fovea.yaml"])["http"]["idle_timeout_s"]
    assert kept > max(INGRESS_NGINX_KEEPS_S, TRAEFIK_KEEPS_S)
    assert kept > duration(one("BackendTrafficPolicy", edge())["spec"]["timeout"]["http"]["connectionIdleTimeout"])


def test_outside_only_the_api_can_be_reached() -> None:
    [rule] = one("Ingress", edge())["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/v1"]
    [rule] = one("HTTPRoute", edge())["spec"]["rules"]
    assert [match["path"]["value"] for match in rule["matches"]] == ["/v1"]


def test_routes_lead_to_the_gateways_service() -> None:
    service = next(
        each for each in edge() if each["kind"] == "Service" and each["metadata"]["name"] == "fovea-gateway"
    )
    [port] = service["spec"]["ports"]
    [path] = one("Ingress", edge())["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "fovea-gateway", "port": {"name": port["name"]}}
    [backend] = one("HTTPRoute", edge())["spec"]["rules"][0]["backendRefs"]
    assert backend == {"name": "fovea-gateway", "port": port["port"]}


def test_a_gateway_that_is_called_by_some_names_alone_still_hears_its_cluster() -> None:
    hosts = 'http.hosts=["fovea.example.com"]'
    manifests = edge(hosts, monitored=False)
    config = next(each for each in manifests if each["kind"] == "ConfigMap" and "fovea.yaml" in each["data"])
    names = yaml.safe_load(config["data"]["fovea.yaml"])["http"]["hosts"]
    assert names == ["fovea.example.com", "fovea-gateway", "fovea-gateway.fovea", "fovea-gateway.fovea.svc"]
    asked = one("Pod", manifests)["spec"]["containers"][0]["args"][1].removeprefix("--url=")
    OwnHost(names, loopback_only=False).check([(b"host", urlsplit(asked).netloc.encode())])
    for probe in probes(manifests):
        [header] = probe["httpGet"]["httpHeaders"]
        OwnHost(names, loopback_only=False).check([(header["name"].lower().encode(), header["value"].encode())])
    assert not any("httpHeaders" in probe["httpGet"] for probe in probes(edge()))


def probes(manifests: list[Manifest]) -> list[dict[str, Any]]:
    gateway = next(
        each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Deployment", "fovea-gateway")
    )
    [container] = gateway["spec"]["template"]["spec"]["containers"]
    return [container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]


def test_gateways_share_limits_through_a_store_whose_url_only_a_secret_tells() -> None:
    gateway = next(
        each for each in edge() if each["kind"] == "Deployment" and "gateway" in each["metadata"]["name"]
    )
    [container] = gateway["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("valueFrom") for each in container["env"]}
    assert told["FOVEA_LIMITS__STORE_URL"] == {"secretKeyRef": {"name": "valkey", "key": "url"}}


def test_traefik_is_told_no_buffering_and_takes_all_names() -> None:
    ingress = one("Ingress", rendered(NEWEST, "own-nodes"))
    assert ingress["metadata"]["annotations"] == {"traefik.ingress.kubernetes.io/router.entrypoints": "web"}
    [rule] = ingress["spec"]["rules"]
    assert rule.keys() == {"http"}


def test_annotations_of_the_users_own_win() -> None:
    program = find_helm(NEWEST)
    assert program is not None
    own = f'ingress.annotations={{"{NGINX}proxy-body-size": "99m", "mine": "yes"}}'
    told = nginx(objects(render(program, "--values", str(EDGE), "--set-json", own)))
    assert (told["proxy-body-size"], told["mine"], told["proxy-buffering"]) == ("99m", "yes", "off")


def test_a_pool_of_the_inference_extension_finds_the_engines_that_answer() -> None:
    pool = one("InferencePool", edge())
    service = next(each for each in edge() if each["metadata"]["name"] == "fovea-engine-main")
    assert pool["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert pool["spec"]["targetPorts"] == [{"number": service["spec"]["ports"][0]["port"]}]
    assert pool["spec"]["endpointPickerRef"] == {
        "name": "picker",
        "port": {"number": 9002},
        "failureMode": "FailClose",
    }


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("httpRoute.parentRefs=[]", "httpRoute.parentRefs is empty: name the Gateway that the route hangs on"),
        ('inferencePool.endpointPicker.name=""', "inferencePool.endpointPicker.name is empty: name the Service"),
        ('gateway.config.http.max_body="much"', "gateway.config.http.max_body 'much' is not a size like 32MiB"),
        (
            'gateway.config.http.hosts=["other.example"]',
            "ingress.hosts holds 'fovea.example.com', which gateway.config.http.hosts does not",
        ),
        ('ingress.controller="haproxy"', "controller"),
        ('ingress.paths=["v1"]', "paths"),
    ],
)
def test_what_cannot_work_is_refused(said: str, sentence: str) -> None:
    more = ["--set-json", "monitoring.serviceMonitor.enabled=false", "--set-json", said]
    assert sentence in refusal(NEWEST, EDGE, *more)


def test_an_engine_over_two_nodes_has_a_leader_that_answers_and_a_worker_that_does_not() -> None:
    manifests = rendered(NEWEST, "own-nodes")
    spec = one("LeaderWorkerSet", manifests)["spec"]["leaderWorkerTemplate"]
    leader, worker = spec["leaderTemplate"], spec["workerTemplate"]
    service = next(each for each in manifests if each["metadata"]["name"] == "fovea-engine-large")
    selector = service["spec"]["selector"].items()
    assert selector <= leader["metadata"]["labels"].items()
    assert not selector <= worker["metadata"]["labels"].items()
    [answers], [works] = leader["spec"]["containers"], worker["spec"]["containers"]
    alike = {"--nnodes=2", "--tensor-parallel-size=8", "--pipeline-parallel-size=2"}
    assert alike | {"--node-rank=0", "--master-addr=$(LWS_LEADER_ADDRESS)"} <= set(answers["args"])
    assert alike | {"--node-rank=$(LWS_WORKER_INDEX)", "--headless"} <= set(works["args"])
    assert "--headless" not in answers["args"]
    assert answers["readinessProbe"]
    assert not works.keys() & {"startupProbe", "readinessProbe", "livenessProbe", "ports"}
    assert answers["resources"]["limits"]["nvidia.com/gpu"] == works["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert not [arg for arg in answers["args"] if arg.startswith("--embedding-cache")]


def test_the_set_is_not_called_as_the_engines_service_is() -> None:
    """Its controller would take ours, which finds no pod before it is ready, for the one that it makes."""
    manifests = rendered(NEWEST, "own-nodes")
    services = {each["metadata"]["name"] for each in manifests if each["kind"] == "Service"}
    assert one("LeaderWorkerSet", manifests)["metadata"]["name"] not in services


def test_nodes_that_cannot_share_the_store_are_refused() -> None:
    said = refusal(NEWEST, OWN / "nodes.yaml", "--set-json", 'modelStore.accessModes=["ReadWriteOnce"]')
    assert "pool 'large': leaderWorkerSet spreads an engine over nodes" in said


def notes(*options: str) -> str:
    program = find_helm(NEWEST)
    assert program is not None
    told = run_helm(program, "install", "fovea", str(CHART), "--namespace", "fovea", "--dry-run=client", *options)
    return told.partition("NOTES:\n")[2]


def test_the_notes_ask_about_a_picture_with_the_callers_key() -> None:
    told = notes("--values", str(EDGE))
    assert "curl https://fovea.example.com/v1/chat/completions" in told
    assert '--header "authorization: Bearer $FOVEA_API_KEY"' in told
    assert "no keys are asked for" not in told
    assert "name it in test.keySecret.name" not in told  # there is one
    body = json.loads(re.search(r"--data '(.*?)'", told, re.DOTALL)[1])  # type: ignore[index]
    assert body["model"] == "vision"
    picture, question = body["messages"][0]["content"]
    assert question["text"] == QUESTION
    data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as shown, Image.open(io.BytesIO(draw_square())) as drawn:
        assert shown.tobytes() == drawn.tobytes()


def test_the_notes_warn_where_no_keys_are_asked_for_and_say_how_to_get_there() -> None:
    told = notes(
        "--set",
        "gateway.allowAnonymous=true",
        "--values",
        str(OWN / "pools.yaml"),
        "--set",
        "gateway.keysSecret.name=",
    )
    assert "WARNING: no keys are asked for" in told
    assert "port-forward service/fovea-gateway 8080:80" in told
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in told
    assert "authorization" not in told


def test_the_notes_say_that_helm_test_needs_a_key_of_its_own() -> None:
    assert "name it in test.keySecret.name" in notes("--values", str(EDGE), "--set", "test.keySecret.name=")


def test_helm_test_asks_the_gateway_about_a_picture() -> None:
    pod = one("Pod", edge())
    [container] = pod["spec"]["containers"]
    assert container["args"][:3] == ["ask", "--url=http://fovea-gateway.fovea.svc:80", "--model=vision"]
    assert {
        "name": "FOVEA_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "test-key", "key": "key"}},
    } in container["env"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert "hook-succeeded" in pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
