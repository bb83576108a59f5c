import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from server.domain import Cost
from server.permit import Permit, PermitMisused, issue

SERVER = Path(__file__).parents[2] / "server"
COST = Cost(1, 2, 3)


def used() -> Permit:
    permit = issue(COST)
    permit.use()
    return permit


def closed() -> Permit:
    permit = issue(COST)
    permit.close()
    return permit


def used_and_closed() -> Permit:
    permit = used()
    permit.close()
    return permit


def forged() -> Permit:
    return Permit.__new__(Permit)


@pytest.mark.parametrize("made", [used, closed, used_and_closed, forged])
def test_a_permit_is_used_once_while_it_lasts_if_a_gate_issued_it(made: Callable[[], Permit]) -> None:
    permit = made()
    with pytest.raises(PermitMisused):
        permit.use()


@pytest.mark.parametrize("made", [lambda: issue(COST), closed, used_and_closed, forged])
def test_an_engine_is_called_only_with_a_permit_that_is_in_use(made: Callable[[], Permit]) -> None:
    permit = made()
    with pytest.raises(PermitMisused):
        permit.check()


def test_a_permit_in_use_is_good_for_every_engine_that_the_pool_tries() -> None:
    permit = used()
    permit.check()
    permit.check()
    assert permit.cost is COST


class Room:
    def __init__(self, spare: int) -> None:
        self.spare = spare

    def take_more(self, tokens: int) -> bool:
        fits = tokens <= self.spare
        self.spare -= tokens if fits else 0
        return fits

    def give(self, tokens: int) -> None:
        self.spare += tokens


def test_a_permit_is_widened_once_where_there_is_room_and_gives_back_what_that_took() -> None:
    room = Room(13)
    permit = issue(COST, room, 6)
    with pytest.raises(PermitMisused):
        permit.widen()
    permit.use()
    assert (permit.widen(), permit.widen(), room.spare) == (True, False, 7)
    permit.narrow()
    permit.narrow()
    assert room.spare == 13
    assert permit.widen()
    assert (permit.close(), permit.close(), room.spare) == (True, False, 13)
    with pytest.raises(PermitMisused):
        permit.widen()


def test_a_permit_stays_as_it_is_where_there_is_no_room() -> None:
    for room in (Room(5), None):
        permit = issue(COST, room, 6)
        permit.use()
        assert not permit.widen()
        permit.close()
        assert room is None or room.spare == 5


def test_nobody_makes_a_permit_without_a_gate() -> None:
    with pytest.raises(PermitMisused):
        Permit()
    importers = {
        str(path.relative_to(SERVER))
        for path in SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module == "server.permit"
        and {alias.name for alias in node.names} & {"issue", "_SEAL", "*"}
    }
    assert importers == {"admission/gate.py"}
