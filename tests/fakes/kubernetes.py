"""A stand-in for the part of Kubernetes' API server that knows EndpointSlices: lists, watches, resumes, forgets."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TICK_S = 0.01


class FakeApiServer:
    """`change` makes a new version; those below `oldest` are gone. `down` answers 503; `hang_up` ends watches,
    which send `nonsense` where there is some."""

    def __init__(self) -> None:
        self.version = 10
        self.oldest = 0
        self.slices: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.down = False
        self.nonsense = ""
        self.era = 0
        self.asked: list[dict[str, str]] = []
        path = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self.app = Starlette(routes=[Route(path, self._answer)])

    def change(
        self, name: str, *addresses: str, kind: str = "MODIFIED", port: int = 8000, **conditions: Any
    ) -> None:
        """Slice `name` now has these addresses; kind DELETED: there is none."""
        self.version += 1
        made = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "addressType": "IPv4",
            "metadata": {"name": name, "resourceVersion": str(self.version)},
            "ports": [{"name": "metrics", "port": 1}, {"name": "http", "port": port}],
            "endpoints": [{"addresses": [each], "conditions": conditions or {"ready": True}} for each in addresses],
        }
        if kind == "DELETED":
            self.slices.pop(name)
        else:
            self.slices[name] = made
        self.events.append((self.version, {"type": kind, "object": made}))

    def hang_up(self) -> None:
        self.era += 1

    def kubeconfig(self, url: str, folder: Path) -> Path:
        cluster = {"name": "c", "cluster": {"server": url}}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    async def _answer(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        if self.down:
            return JSONResponse({"kind": "Status", "code": 503}, 503)
        if asked.get("watch", "").lower() == "true":
            return StreamingResponse(self._events(int(asked["resourceVersion"])), media_type="application/json")
        listed = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSliceList",
            "metadata": {"resourceVersion": str(self.version)},
            "items": [*self.slices.values()],
        }
        return JSONResponse(listed)

    async def _events(self, since: int) -> AsyncGenerator[str, None]:
        era = self.era
        if since < self.oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            yield json.dumps({"type": "ERROR", "object": gone}) + "\n"
            return
        while self.era == era and not self.down:
            if self.nonsense:
                yield self.nonsense
                return
            for version, event in [each for each in self.events if each[0] > since]:
                since = version
                yield json.dumps(event) + "\n"
            await asyncio.sleep(TICK_S)
