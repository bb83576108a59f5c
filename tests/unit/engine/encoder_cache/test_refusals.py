from dataclasses import dataclass

from server.engine.encoder_cache.refusals import Refusals


@dataclass(frozen=True)
class Shown:
    identifier: str


@dataclass(frozen=True)
class Asked:
    request_id: str
    mm_features: list[Shown]


def ask(name: str, *pictures: str) -> Asked:
    return Asked(name, [Shown(each) for each in pictures])


def test_who_shows_what_is_wrong_is_refused_once_and_nobody_else_is() -> None:
    refusals = Refusals()
    refusals.follow(ask("a", "cat", "dog"))
    refusals.follow(ask("b", "bird"))
    refusals.spoil(["dog"])
    assert refusals.take() == {"a"}
    assert refusals.take() == set()


def test_who_comes_while_vllm_holds_it_is_refused_too() -> None:
    refusals = Refusals()
    refusals.spoil(["dog"])
    refusals.follow(ask("a", "dog"))
    assert refusals.take() == {"a"}


def test_nobody_is_refused_for_what_vllm_holds_no_more() -> None:
    refusals = Refusals()
    refusals.spoil(["dog", "cat"])
    refusals.follow(ask("a", "dog"))
    refusals.follow(ask("b", "dog", "cat"))
    refusals.let_go("dog")
    assert refusals.take() == {"b"}


def test_who_is_gone_is_neither_refused_nor_followed() -> None:
    refusals = Refusals()
    refusals.follow(ask("a", "dog"))
    refusals.spoil(["dog"])
    refusals.finished("a")
    assert (len(refusals), refusals.take()) == (0, set())
