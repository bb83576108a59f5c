"""Prometheus is told our own configuration and rules, of other targets and in a hurry."""

from pathlib import Path

import yaml

from demo.observe.programs import Target, configuration, hurried, in_its_place, rule_files

TARGETS = (
    Target("fovea-gateway", "http://127.0.0.1:1111"),
    Target("fovea-engine", "http://127.0.0.1:2222", (("engine", "engine-0"),)),
    Target("fovea-engine", "http://127.0.0.1:3333", (("engine", "engine-1"),)),
)


def test_jobs_keep_their_names_and_get_other_targets() -> None:
    told = configuration(TARGETS, 2, "http://127.0.0.1:4444")
    scraped = {job["job_name"]: job["static_configs"] for job in told["scrape_configs"]}
    assert scraped == {
        "fovea-gateway": [{"targets": ["127.0.0.1:1111"], "labels": {}}],
        "fovea-engine": [
            {"targets": ["127.0.0.1:2222"], "labels": {"engine": "engine-0"}},
            {"targets": ["127.0.0.1:3333"], "labels": {"engine": "engine-1"}},
        ],
    }
    assert not any("file_sd_configs" in job for job in told["scrape_configs"])
    assert told["global"]["scrape_interval"] == told["global"]["evaluation_interval"] == "2s"
    assert told["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["127.0.0.1:4444"]}]}]
    nobody = configuration(TARGETS, 2, None)["alerting"]["alertmanagers"]
    assert nobody == [{"static_configs": [{"targets": []}]}]


def test_all_rules_are_taken_along_and_worked_out_as_often_as_targets_are_scraped(tmp_path: Path) -> None:
    files = rule_files(configuration(TARGETS, 2, None))
    assert "slo.yml" in [path.name for path in files]
    for path in files:
        before, after = (yaml.safe_load(each.read_text()) for each in (path, hurried(path, tmp_path, 2)))
        assert {group["interval"] for group in after["groups"]} == {"2s"}
        assert [group["rules"] for group in after["groups"]] == [group["rules"] for group in before["groups"]]


def test_only_an_alertmanager_that_is_unpacked_needs_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    manager, server = (tmp_path / "bin" / name for name in ("prometheus-alertmanager", "prometheus"))
    assert in_its_place(manager) == [str(manager)]
    templates = tmp_path / "share" / "prometheus" / "alertmanager"
    templates.mkdir(parents=True)
    (templates / "default.tmpl").touch()
    assert in_its_place(server) == [str(server)]
    if not Path("/usr/share/prometheus/alertmanager/default.tmpl").exists():
        assert in_its_place(manager)[-2:] == [str(tmp_path / "share"), str(manager)]
