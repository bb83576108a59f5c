"""Every command, setting, value of the chart, metric, alert and link in docs/guides/ is one that there is."""

import json
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

import loadtest.cli
import quantize.cli
import server.cli
from loadtest.qwen3_5_shapes import qwen3_5_9b
from server.admission.key_file import parse_document
from server.settings import Settings
from tests.guides import GUIDES, ROOT, Block, blocks, blocks_of, commands, inline, prose
from tests.unit.quantize.checkpoints import write_hollow
from tests.unit.quantize.test_fit import QWEN
from tests.unit.test_documentation import setting_names

PROGRAMS = {"fovea": server.cli.app, "fovea-quantize": quantize.cli.app, "fovea-loadtest": loadtest.cli.app}
CHART = ROOT / "helm" / "fovea"
WANTED = {
    "l4-in-15-minutes", "h100", "air-gapped", "upgrading-a-model", "sizing", "multi-tenant", "behind-a-proxy",
    "disaster-recovery", "compose",
}  # fmt: skip
# Options of vLLM and Prometheus that guides name.
OTHERS = {
    "--max-model-len", "--max-num-seqs", "--tensor-parallel-size", "--gpu-memory-utilization", "--kv-cache-dtype",
    "--storage.tsdb.retention.size",
}  # fmt: skip
OTHER_PROGRAMS = {"docker", "podman-compose", "helm", "kubectl", "curl", "skopeo"}
DOTTED = re.compile(r"[a-z][A-Za-z0-9_]*(\.[a-z][A-Za-z0-9_]*)+")
# Names with dots that are no settings: files, others' settings, and places of the web.
NO_SETTINGS = {"idle_timeout.timeout_seconds", "nvidia.com"}
FILES = (".md", ".yaml", ".yml", ".tgz", ".tar", ".jpg", ".json")


def named(block: Block) -> str:
    return f"{block.guide}: {block.text.splitlines()[1]}"


@cache
def schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text())


def resolved(node: Any) -> Any:
    while "$ref" in node:
        target = schema()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def is_value(path: Sequence[str], node: Any = None) -> bool:
    """Whether the chart's schema knows `path`; in gateway.config, whether settings do."""
    node = resolved(schema() if node is None else node)
    if not path:
        return True
    if list(path[:1]) == ["config"] and "keysSecret" in node.get("properties", {}):
        return len(path) == 1 or is_setting(path[1:])
    node = resolved(node["items"]) if "items" in node else node
    below = node.get("properties", {}).get(path[0].split("[")[0])
    return below is not None and is_value(path[1:], below)


def is_setting(path: Sequence[str]) -> bool:
    names = [tuple(name.removeprefix("FOVEA_").lower().split("__")) for name in setting_names()]
    return tuple(path) in names or (len(path) == 1 and path[0] in Settings.model_fields)


def test_the_guides_that_were_promised_are_there() -> None:
    assert {guide.stem for guide in GUIDES} >= WANTED
    assert [name for name in WANTED if f"guides/{name}.md" not in (ROOT / "README.md").read_text()] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_to_files_and_headings_that_there_are(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(guide)):
        path, _, heading = target.partition("#")
        file = (guide.parent / path).resolve() if path else guide
        assert file.exists(), target
        if heading:
            assert heading in headings(file), target
    for code in inline(guide):
        if re.match(r"(docs|deploy|helm|docker|server|tests)/[\w./-]+$", code):
            assert (ROOT / code).exists() or code in (ROOT / ".gitignore").read_text() or is_made(code), code


def is_made(code: str) -> bool:
    """By whom the guide is for."""
    return code.startswith("deploy/secrets/") or code in ("deploy/.env", "deploy/compose.override.yaml")


def headings(file: Path) -> set[str]:
    lines = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", line.lower()).replace(" ", "-") for line in lines}


def ours(words: tuple[str, ...]) -> tuple[str, ...]:
    """What is run of ours, be it in a container: an image of the gateway is the program, a pod is told which."""
    if words[0] == "docker" and "run" in words:
        return ("fovea", *words[words.index("fovea-gateway:0.1.0") + 1 :])
    if words[0] == "kubectl" and "--" in words:
        return words[words.index("--") + 1 :]
    return words if words[0] in PROGRAMS else ()


@pytest.mark.parametrize(
    ("guide", "words"),
    [(guide, ours(words)) for guide, words in commands() if ours(words)],
    ids=lambda each: each if isinstance(each, str) else " ".join(each)[:60],
)
def test_commands_of_ours_exist_with_their_options_and_arguments(guide: str, words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(PROGRAMS[words[0]])
    rest = list(words[1:])
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    options = {name: option for option in command.params for name in option.opts if name.startswith("--")}
    arguments = 0
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if not word.startswith("--"):
            arguments += 1
            continue
        assert word in options, f"{guide}: {word}"
        if not options[word].is_flag and not value:
            rest.pop(0)
    most = [each for each in command.params if each.param_type_name == "argument"]
    least = [each for each in most if each.required]
    assert arguments >= len(least)
    assert arguments <= len(most) or any(each.nargs == -1 for each in most)


@pytest.mark.parametrize("words", [words for _, words in commands() if words[0] == "helm"], ids=" ".join)
def test_helm_is_told_values_that_there_are(words: tuple[str, ...]) -> None:
    for option, told in pairwise(words):
        if option == "--set":
            assert is_value(told.partition("=")[0].split(".")), told
        if option in ("--values", "--file") and "/" in told:
            assert (ROOT / told).exists(), told


@pytest.mark.parametrize("block", blocks_of("values"), ids=named)
def test_values_are_as_the_chart_wants_them(block: Block) -> None:
    jsonschema.validate(block.told, schema())
    settings = block.told.get("gateway", {}).get("config", {})
    # As the chart adds it: keysSecret is the file.
    Settings.model_validate({"auth": {"keys_file": "/etc/fovea/keys.yaml"}, **settings})


def test_the_schema_refuses_what_guides_could_misspell() -> None:
    assert is_value(["gateway", "keysSecret", "name"])
    assert is_value(["gateway", "config", "limits", "tenant"])
    assert not is_value(["gateway", "keySecret"])
    assert not is_value(["gateway", "config", "limits", "tenants"])


@pytest.mark.parametrize("block", blocks_of("keys"), ids=named)
def test_keys_files_can_be_read(block: Block) -> None:
    assert parse_document(block.text.encode(), Path(block.guide)).keys


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_settings_and_values_that_are_named_exist(guide: Path) -> None:
    pool = {"$ref": "#/$defs/pool"}
    for code in inline(guide):
        if not DOTTED.fullmatch(code) or code in NO_SETTINGS or code.endswith(FILES):
            continue
        path = code.split(".")
        assert is_setting(path) or is_value(path) or is_value(path, pool), code
    for name in re.findall(r"\bFOVEA_[A-Z]+__[A-Z0-9_]+", guide.read_text()):
        assert name in setting_names(), name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_options_that_are_named_exist(guide: Path) -> None:
    known = {name for app in PROGRAMS.values() for name in options_of(typer.main.get_command(app))}
    for code in inline(guide):
        for option in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code):
            others = code.split()[0] in OTHER_PROGRAMS or "entryPoints" in code
            assert others or option in known | OTHERS | {"--wait"}, option


def options_of(command: Any) -> set[str]:
    found = {name for each in command.params for name in each.opts}
    return found.union(*(options_of(each) for each in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_metrics_and_alerts_that_are_named_exist(guide: Path) -> None:
    operating = (ROOT / "docs" / "operating.md").read_text()
    told = set(re.findall(r"^\| `(fovea_\w+)` \|", operating, re.MULTILINE))
    for code in inline(guide):
        if re.fullmatch(r"fovea_\w+", code):
            assert code in told, code
        if re.fullmatch(r"Fovea[A-Z]\w+", code):
            assert f"`{code}`" in operating, code


def figures() -> list[tuple[str, str]]:
    """Each command of `fit` in the guide on sizing, with what it shows."""
    found = blocks(ROOT / "docs" / "guides" / "sizing.md")
    return [
        (one.text.strip(), other.text)
        for one, other in pairwise(found)
        if " fit " in one.text and other.kind == "text"
    ]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Headers of Qwen3.5-9B, with nothing behind them."""
    folder = tmp_path_factory.mktemp("qwen")
    (folder / "config.json").write_text(json.dumps({**QWEN, "tie_word_embeddings": False}))
    write_hollow(folder / "model.safetensors", [(name, "BF16", shape) for name, shape in qwen3_5_9b(True).items()])
    return folder


@pytest.mark.parametrize(("command", "shown"), figures())
def test_sizes_are_what_fit_says(command: str, shown: str, qwen: Path) -> None:
    words = [str(qwen) if word == "Qwen/Qwen3.5-9B" else word for word in command.split()[1:]]
    done = CliRunner().invoke(quantize.cli.app, words)
    assert (done.exit_code, done.stdout) == (0, shown)


def test_the_override_of_compose_is_for_a_service_that_there_is() -> None:
    [override] = [block for block in blocks_of("yaml") if block.guide == "compose.md"]
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    assert override.told["services"].keys() <= services.keys()
