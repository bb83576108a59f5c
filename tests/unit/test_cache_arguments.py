"""`fovea engine --embedding-cache...`, as it is typed: what cannot be meant is refused before anything starts."""

import pytest
from typer.testing import CliRunner, Result

from server.cache_arguments import make_options
from server.cli import app
from server.engine.cache_options import SHARED_VARIABLE, CacheOptions

STORE = "redis://:s3cret@store:6379/0"
OTHERS = {
    "--embedding-cache-host": "1GiB",
    "--embedding-cache-disk": "1GiB",
    "--embedding-cache-shared": STORE,
    "--embedding-cache-shared-size": "1GiB",
    "--embedding-cache-ttl": "30d",
    "--embedding-cache-wait": "0",
    "--embedding-cache-compress": "none",
}


def start(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["engine", "--model", "/none", *arguments], env=environ)


def test_every_option_of_the_cache_is_refused_without_one_and_says_what_to_do() -> None:
    for name, value in OTHERS.items():
        for off in ((), ("--embedding-cache", "off")):
            done = start(name, value, *off)
            assert done.exit_code == 2
            assert done.stderr.startswith(f"fovea: {name} ")
            assert "has no effect without --embedding-cache on" in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
            assert "s3cret" not in done.output


def test_no_option_of_the_cache_is_forgotten_here() -> None:
    engine = next(each for each in app.registered_commands if each.callback and each.callback.__name__ == "engine")
    assert engine.callback is not None
    names = {f"--{each.replace('_', '-')}" for each in engine.callback.__annotations__}
    assert {each for each in names if each.startswith("--embedding-cache-")} == set(OTHERS)


def test_a_shared_tier_that_is_named_in_the_environment_is_refused_without_a_cache_too() -> None:
    done = start(**{SHARED_VARIABLE: STORE})
    assert (done.exit_code, SHARED_VARIABLE in done.stderr, STORE in done.output) == (2, True, False)
    assert "it has no config.json" in start(**{SHARED_VARIABLE: ""}).stderr


def test_a_folder_without_a_name_is_refused() -> None:
    done = start("--embedding-cache", "")
    assert (done.exit_code, done.stderr) == (
        2,
        "fovea: --embedding-cache has no value: name a folder, or on, or off.\n",
    )


def test_the_usual_place_is_where_fovea_cache_looks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/of/somebody")
    made = make_options("on", None, None, "", None, None, None, None)
    assert made == CacheOptions("/of/somebody/fovea/embeddings")


def test_what_is_given_with_a_folder_is_handed_on() -> None:
    made = make_options("kept", 1, 2, STORE, 3, 4.0, 5.0, "fp8-row")
    assert made == CacheOptions("kept", 1, 2, 3, 4.0, 5.0, "fp8-row")
    assert make_options("off", None, None, "", None, None, None, None) is None
