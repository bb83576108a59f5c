"""The outermost application, around endpoints that the test is."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from starlette.routing import Route

from server.api.front import Front
from server.api.leaving import ClientLeft
from server.api.own_host import OwnHost
from server.api.problems import OpenAIWording
from server.drain import Drain
from server.errors import BodyTooLarge, BusyError
from server.record import RequestRecord, current_record
from server.request_lines import RequestLines

ROUTE = "/v1/models/{name:path}"


class Lines:
    """In the place of the process's request lines."""

    def __init__(self) -> None:
        self.told: list[RequestRecord] = []

    def tell(self, record: RequestRecord) -> None:
        self.told.append(record)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    made = Lines()
    monkeypatch.setattr(RequestLines, "of_process", made)
    return made


class Scene:
    def __init__(self, problem: BaseException | None = None, starts: bool = False) -> None:
        self.problem, self.starts = problem, starts
        self.sent: list[Any] = []
        self.seen_id = ""
        self.drain = Drain()
        self.route = Route(ROUTE, self.endpoint)
        self.front = Front(
            self.rest, lambda: [self.route], OwnHost((), loopback_only=True), lambda _: OpenAIWording(), self.drain
        )
        self.front.endpoints["/v1/x"] = self.endpoint

    async def endpoint(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen_id = current_record().request_id
        if self.problem is not None and not self.starts:
            raise self.problem
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        if self.problem is not None:
            raise self.problem
        await send({"type": "http.response.body", "body": b"ok", "more_body": False})

    async def rest(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].startswith("/v1/models/"):
            scope["endpoint"] = self.route.endpoint
        await self.endpoint(scope, receive, send)

    async def ask(self, path: str = "/v1/x", method: str = "POST", host: bytes = b"localhost") -> int:
        async def receive() -> Any:
            raise AssertionError("no body is read here")

        async def send(message: Any) -> None:
            self.sent.append(message)

        scope = {"type": "http", "path": path, "method": method, "headers": [(b"host", host)]}
        await self.front(scope, receive, send)
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def code(self) -> str:
        return str(orjson.loads(self.sent[1]["body"])["error"]["code"])


async def test_every_answer_bears_an_id_under_both_names_and_no_two_the_same(lines: Lines) -> None:
    scene = Scene()
    for _ in range(2):
        assert await scene.ask() == 200
        headers = dict(scene.sent[-2]["headers"])
        assert headers[b"x-request-id"] == headers[b"request-id"] == scene.seen_id.encode()
        assert headers[b"x"] == b"y"
    assert len({record.request_id for record in lines.told}) == 2
    assert [(record.path, record.status, record.method) for record in lines.told] == [("/v1/x", 200, "POST")] * 2


@pytest.mark.parametrize(
    ("path", "told"), [("/v1/models/secret", ROUTE), ("/secret", "none of ours"), ("/v1/x/", "none of ours")]
)
async def test_paths_are_told_by_their_patterns_alone(lines: Lines, path: str, told: str) -> None:
    await Scene().ask(path, method="SECRET")
    assert [(record.path, record.method) for record in lines.told] == [(told, "other")]


@pytest.mark.parametrize("path", ["/v1/x", "/v1/models/a"])
@pytest.mark.parametrize(("problem", "status"), [(BodyTooLarge("too large"), 413), (ZeroDivisionError(), 500)])
async def test_what_fails_is_answered(lines: Lines, path: str, problem: Exception, status: int) -> None:
    scene = Scene(problem)
    assert await scene.ask(path) == status
    assert scene.code == lines.told[0].code == getattr(problem, "code", "internal_error")
    assert lines.told[0].status == status
    assert problem.__traceback__ is None  # what it came through is let go of


@pytest.mark.parametrize("problem", [BusyError("later"), ZeroDivisionError()])
async def test_what_fails_once_a_status_has_gone_out_is_left_to_the_server(
    lines: Lines, problem: Exception
) -> None:
    scene = Scene(problem, starts=True)
    with pytest.raises(type(problem)):
        await scene.ask()
    assert (len(scene.sent), len(lines.told)) == (1, 1)


async def test_a_caller_that_has_left_is_answered_nothing_and_told_of(lines: Lines) -> None:
    scene = Scene(ClientLeft())
    assert await scene.ask() == 0
    assert [(record.status, record.code) for record in lines.told] == [(499, "client_left")]


async def test_other_hosts_reach_no_endpoint(lines: Lines) -> None:
    scene = Scene()
    assert await scene.ask(host=b"rebound.example") == 421
    assert (scene.seen_id, lines.told[0].code) == ("", "wrong_host")


async def test_what_is_cut_off_when_the_gateway_stops_is_told_so(lines: Lines) -> None:
    scene = Scene(asyncio.CancelledError())
    scene.drain.end()
    assert await scene.ask() == 503
    assert scene.code == "draining"


async def test_other_cancellations_pass(lines: Lines) -> None:
    with pytest.raises(asyncio.CancelledError):
        await Scene(asyncio.CancelledError()).ask()


@pytest.mark.parametrize("path", ["/health/live", "/metrics"])
async def test_probes_and_scrapes_leave_no_line(lines: Lines, path: str) -> None:
    scene = Scene()
    scene.front.endpoints[path] = scene.endpoint
    assert await scene.ask(path) == 200
    assert lines.told == []
