"""What containers of deploy/compose.yaml are told and find is read by our own settings, options and promtool."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from server.cli import app
from server.engine.cache_options import SHARED_VARIABLE, parse_size
from server.settings import Settings, read_settings
from tests.compose.project import DEPLOY, ENGINES, Service, binds, everything, is_kept, on_this_machine, reached
from tests.observe.rule_files import program as debian

VLLM_OPTIONS = {"--max-model-len", "--gpu-memory-utilization", "--tensor-parallel-size"}
# They are made by whom it serves, and are not in the repository.
SECRETS = DEPLOY / "secrets"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    gateway = everything()["gateway"]
    told = dict(gateway["environment"])
    told["FOVEA_CONFIG"] = str(on_this_machine(gateway, told["FOVEA_CONFIG"]))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return read_settings(told)


def parsed(name: str) -> typer.Context:
    """What `fovea engine` makes of the command; what it does not know stays in `args`, for vLLM."""
    command = everything()[name]["command"]
    group: Any = typer.main.get_command(app)
    made: typer.Context = group.commands[command[0]].make_context(command[0], list(command[1:]))
    return made


def test_every_mounted_file_is_there() -> None:
    for name, service in everything().items():
        for source, target in binds(service):
            assert source.exists() or source == SECRETS, f"{name}: {target}"


def test_the_gateways_settings_are_ours_and_lead_to_what_is_there(settings: Settings) -> None:
    services = everything()
    gateway = services["gateway"]
    assert settings.http.host == "0.0.0.0"
    assert [port["target"] for port in gateway["ports"]] == [settings.http.port]
    assert f":{settings.http.port}/" in gateway["healthcheck"]["test"][-1]
    assert settings.limits.store_url is not None
    assert (
        reached(services, "gateway", str(urlsplit(settings.limits.store_url.get_secret_value()).hostname))
        == "limits"
    )
    assert settings.auth.keys_file is not None
    assert on_this_machine(gateway, str(settings.auth.keys_file)) == SECRETS / "keys.yaml"
    assert is_kept(gateway, str(settings.files.path))
    assert (on_this_machine(gateway, str(settings.admission.preprocessor)) / "preprocessor_config.json").exists()


@pytest.mark.parametrize("name", ENGINES.values())
def test_an_engine_is_called_as_our_command_line_has_it(name: str, settings: Settings) -> None:
    services, context = everything(), parsed(name)
    told = context.params
    [url] = settings.engines.urls
    assert reached(services, "gateway", str(urlsplit(url).hostname)) in ENGINES.values()
    assert names_of(services[name]) == str(urlsplit(url).hostname)
    assert (told["host"], told["port"]) == ("0.0.0.0", urlsplit(url).port)
    assert f":{told['port']}/" in services[name]["healthcheck"]["test"][-1]
    assert (on_this_machine(services[name], told["model"]) / "config.json").exists()
    assert told["model"] == str(settings.admission.preprocessor)
    assert {each.partition("=")[0] for each in context.args} <= VLLM_OPTIONS


def names_of(service: Service) -> str:
    [alias] = service["networks"]["engines"]["aliases"]
    return str(alias)


@pytest.mark.parametrize("name", ENGINES.values())
def test_embeddings_are_kept_in_a_volume_and_shared_through_a_store_that_holds_them(name: str) -> None:
    services, told = everything(), parsed(name).params
    engine = services[name]
    url = urlsplit(engine["environment"][SHARED_VARIABLE])
    assert reached(services, name, str(url.hostname)) == "embeddings"
    assert told["embedding_cache"] == "on"
    assert is_kept(engine, engine["environment"]["XDG_CACHE_HOME"])
    command = services["embeddings"]["command"]
    most = parse_size(command[command.index("--maxmemory") + 1].replace("gb", "GiB"))
    assert parse_size(str(told["embedding_cache_shared_size"])) * 1.1 < most
    assert most < int(services["embeddings"]["deploy"]["resources"]["limits"]["memory"])


def test_stores_keep_nothing_on_disk_and_what_limits_drew_is_never_evicted() -> None:
    for name in ("limits", "embeddings"):
        command = everything()[name]["command"]
        assert command[command.index("--save") + 1] == ""
        assert command[command.index("--appendonly") + 1] == "no"
        assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_stores_without_passwords_answer_those_who_can_reach_them() -> None:
    """Valkey answers other machines not at all where it asks for no password, unless it is told to."""
    for name in ("limits", "embeddings"):
        command = everything()[name]["command"]
        assert command[command.index("--protected-mode") + 1] == "no"


def test_prometheus_takes_its_configuration_rules_and_targets_as_they_are_mounted(tmp_path: Path) -> None:
    for source, target in binds(everything()["prometheus"]):
        place = tmp_path / Path(target).relative_to("/etc/prometheus")
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, place)
    [option] = [each for each in everything()["prometheus"]["command"] if each.startswith("--config.file=")]
    file = tmp_path / Path(option.partition("=")[2]).relative_to("/etc/prometheus")
    done = subprocess.run([debian("promtool"), "check", "config", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "4 rule files found" in done.stdout
    assert "not found" not in done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["prometheus", "compose"])
def test_there_are_targets_for_every_file_that_prometheus_reads(folder: str) -> None:
    told = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    named = set(re.findall(r"files: \[targets/([\w.]+)\]", told))
    assert named == {path.name for path in (DEPLOY / folder / "targets").iterdir()}


def test_prometheus_reaches_what_it_scrapes_and_tells(settings: Settings) -> None:
    services = everything()
    ports = {"gateway": settings.http.port, "engine-cpu": 8000, "engine-gpu": 8000, "alertmanager": 9093}
    for path in (DEPLOY / "compose" / "targets").iterdir():
        [group] = yaml.safe_load(path.read_text())
        [target] = group["targets"]
        host, _, port = target.partition(":")
        assert ports[str(reached(services, "prometheus", host))] == int(port)
        if path.stem == "engine":
            assert group["labels"] == {"engine": "engine-0"}, "as the gateway calls the first of engines.urls"


def test_alertmanager_takes_its_configuration() -> None:
    file = on_this_machine(everything()["alertmanager"], "/etc/alertmanager/alertmanager.yml")
    done = subprocess.run([debian("amtool"), "check-config", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_sources_and_our_dashboards() -> None:
    services = everything()
    grafana = services["grafana"]
    folder = on_this_machine(grafana, "/etc/grafana/provisioning")
    sources = yaml.safe_load((folder / "datasources" / "fovea.yml").read_text())["datasources"]
    assert [source["type"] for source in sources if source.get("isDefault")] == ["prometheus"]
    for source in sources:
        assert reached(services, "grafana", str(urlsplit(source["url"]).hostname)) == source["type"]
    [provider] = yaml.safe_load((folder / "dashboards" / "fovea.yml").read_text())["providers"]
    dashboards = on_this_machine(grafana, provider["options"]["path"])
    assert dashboards == DEPLOY / "grafana" / "json"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert on_this_machine(grafana, home).exists()


def test_secrets_are_files_and_no_environment_holds_one() -> None:
    for name, service in everything().items():
        for variable in service.get("environment", {}):
            assert not re.search(r"PASSWORD|TOKEN|SECRET|KEY", variable) or variable.endswith("__FILE"), name
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert {"deploy/secrets/", "deploy/.env"} <= set(ignored)
