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
