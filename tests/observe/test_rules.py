"""promtool takes the rules, and each alert is shown to fire where it should and to be quiet where it should not."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.observe.rule_files import FOLDER, RULE_TESTS, RULES, alerts, program, rule_tests, rules

RECORDING = re.compile(r"[a-z_]+:(fovea|vllm)_\w+:\w+")


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_takes_every_rule_and_the_configuration() -> None:
    run(program("promtool"), "check", "rules", *RULES)
    told = run(program("promtool"), "check", "config", FOLDER / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in told


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path: Path) -> None:
    run(program("promtool"), "test", "rules", path)


def test_every_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    """Of an alert with several windows or severities, each of its rules fires."""
    fires: dict[str, set[tuple[str, str]]] = defaultdict(set)
    quiet: set[str] = set()
    for test in rule_tests():
        for case in test.get("alert_rule_test", []):
            told = case.get("exp_alerts", [])
            labels = [alert["exp_labels"] for alert in told]
            fires[case["alertname"]] |= {(each["severity"], each.get("window", "")) for each in labels}
            if not told:
                quiet.add(case["alertname"])
    for alert in alerts():
        labels = alert["labels"]
        assert (labels["severity"], labels.get("window", "")) in fires[alert["alert"]], alert["alert"]
    assert {alert["alert"] for alert in alerts()} == quiet


def test_every_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on() -> None:
    for alert in alerts():
        assert alert["alert"].startswith("Fovea")
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert "$value" in alert["annotations"]["description"] or "absent(" in alert["expr"], alert["alert"]


def test_recording_rules_are_named_by_level_metric_and_operation() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert [name for name in names if not RECORDING.fullmatch(name)] == []


def test_tests_of_chained_groups_say_in_which_order_they_are_evaluated() -> None:
    """promtool takes groups in any order else, and a group may come before what it reads."""
    for path in RULE_TESTS:
        told = yaml.safe_load(path.read_text())
        files = [yaml.safe_load((path.parent / name).read_text()) for name in told["rule_files"]]
        groups = [group["name"] for file in files for group in file["groups"]]
        assert told.get("group_eval_order", groups[:1]) == groups
