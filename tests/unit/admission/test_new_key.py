import hashlib
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.admission.key_file import Entry, parse_keys
from server.admission.new_key import append_entry, hash_key, make_key, show_entry
from server.cli import app
from server.errors import ConfigError


def run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["keys", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def entry(key: str = "a") -> Entry:
    return Entry.model_validate({"hash": hash_key(key), "tenant": "lab", "scopes": ["files"]})


def test_keys_are_long_random_and_recognisable() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("fv-") and len(key) == 3 + 43 for key in keys)


def test_what_is_shown_is_what_the_file_takes() -> None:
    full = {"name": "ci", "expires": "2027-01-31T00:00:00Z", "scopes": ["files", "inference"]}
    shown = Entry.model_validate({**entry().model_dump(), **full})
    assert parse_keys(f"keys:\n{show_entry(shown)}".encode(), Path("f")) == [shown.known()]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "keys: []\n",
        "# ours\nkeys:\n" + show_entry(entry("old")),
        "keys:\n" + show_entry(entry("old")).rstrip("\n"),
        json.dumps({"keys": [entry("old").model_dump(mode="json", exclude_none=True)]}),
    ],
)
def test_an_entry_is_added_behind_the_others(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    before = []
    if content is not None:
        path.write_text(content)
        path.chmod(0o640)
        before = parse_keys(content.encode(), path)
    if content == "keys: []\n":
        with pytest.raises(ConfigError, match="add the entry by hand"):
            append_entry(path, entry())
        assert path.read_text() == content
        return
    append_entry(path, entry())
    assert parse_keys(path.read_bytes(), path) == [*before, entry().known()]
    assert stat.S_IMODE(path.stat().st_mode) == (0o600 if content is None else 0o640)
    assert ("# ours" in path.read_text()) is ("# ours" in (content or ""))
    assert [each.name for each in tmp_path.iterdir()] == ["keys.yaml"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("keys:\n" + show_entry(entry("old")))
    (tmp_path / "link").symlink_to("real")
    append_entry(tmp_path / "link", entry())
    assert (tmp_path / "link").is_symlink()
    assert len(parse_keys((tmp_path / "real").read_bytes(), tmp_path)) == 2


def test_of_many_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append_entry(path, entry(f"key-{number}")), range(24)))
    assert len(parse_keys(path.read_bytes(), path)) == 24


def test_a_broken_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("keys: [oops]\n")
    with pytest.raises(ConfigError, match="must be a mapping"):
        append_entry(path, entry())
    assert path.read_text() == "keys: [oops]\n"


def test_new_prints_the_key_once_and_the_entry() -> None:
    code, output = run("new", "--tenant", "lab", "--scope", "files", "--scope", "admin", "--name", "ci")
    key, _, text = output.partition("\n")
    (found,) = parse_keys(("keys:\n" + text[text.index("- hash") :]).encode(), Path("f"))
    assert code == 0
    assert output.count(key) == 1
    assert found.digest == hashlib.sha256(key.encode()).digest()
    assert found.grant.scopes == {"files", "admin"}
    assert found.grant.tenant.key == "ci"


def test_new_with_a_file_prints_the_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    code, output = run("new", "--tenant", "lab", "--expires", "2027-01-31T00:00:00Z", "--file", str(path))
    assert (code, output.count("\n"), output[:3]) == (0, 1, "fv-")
    assert output.strip() not in path.read_text()
    (found,) = parse_keys(path.read_bytes(), path)
    assert found.digest == hashlib.sha256(output.strip().encode()).digest()
    assert (found.grant.scopes, found.expires_s) == ({"inference"}, 1801353600)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--tenant", "a b"), "fovea: tenant must be a name"),
        (("--tenant", "a", "--scope", "root"), "fovea: scope must be a list of inference, files and admin"),
        (("--tenant", "a", "--name", "\n"), "fovea: name must be a name"),
        (("--tenant", "a", "--file", "/none/keys.yaml"), "fovea: cannot write /none/keys.yaml"),
    ],
)
def test_new_refuses_in_one_line(arguments: tuple[str, ...], sentence: str) -> None:
    code, output = run("new", *arguments)
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(sentence)


@pytest.mark.parametrize("text", ["abc", "abc\n", "abc\r\n", "abc\nrest\n"])
def test_hash_reads_a_key_from_standard_input(text: str) -> None:
    assert run("hash", text=text) == (0, f"sha256:{hashlib.sha256(b'abc').hexdigest()}\n")


@pytest.mark.parametrize("text", ["", "\n", "a b\n", "clé\n", "x" * 8193])
def test_hash_refuses_what_no_header_carries(text: str) -> None:
    assert run("hash", text=text) == (2, "fovea: a key is visible ASCII without spaces, on one line\n")


@pytest.mark.parametrize(("command", "word"), [("new", "--tenant"), ("hash", "standard input")])
def test_help_says_what_is_done(command: str, word: str) -> None:
    code, output = run(command, "--help")
    assert (code, word in output) == (0, True)


def test_a_new_key_may_have_a_priority_and_a_weight(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    code, _ = run("new", "--tenant", "lab", "--priority", "batch", "--weight", "0.5", "--file", str(file))
    (key,) = parse_keys(file.read_bytes(), file)
    assert (code, key.grant.tenant.priority, key.grant.tenant.weight) == (0, "batch", 0.5)
    for wrong in (("--priority", "urgent"), ("--weight", "0")):
        code, said = run("new", "--tenant", "lab", *wrong)
        assert (code, "must be" in said) == (2, True)
