"""A client of a Kubernetes API server for tests: JSON in and out, over one connection a thread."""

import http.client
import json
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
TIMEOUT_S = 60  # of a machine that stands still

GROUPS = {
    "pods": "api/v1",
    "nodes": "api/v1",
    "secrets": "api/v1",
    "configmaps": "api/v1",
    "services": "api/v1",
    "events": "api/v1",
    "namespaces": "api/v1",
    "serviceaccounts": "api/v1",
    "persistentvolumes": "api/v1",
    "persistentvolumeclaims": "api/v1",
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "jobs": "apis/batch/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "ingresses": "apis/networking.k8s.io/v1",
    "endpointslices": "apis/discovery.k8s.io/v1beta1",
    "poddisruptionbudgets": "apis/policy/v1beta1",
    "horizontalpodautoscalers": "apis/autoscaling/v2beta2",
    "storageclasses": "apis/storage.k8s.io/v1",
    "customresourcedefinitions": "apis/apiextensions.k8s.io/v1",
}


class ApiError(Exception):
    """The server's answer was not 2xx; its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """May be used by several threads."""

    def __init__(self, port: int, ca: Path, token: str) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        self._mine = threading.local()

    def list(self, kind: str, namespace: str = "", **query: str) -> list[Object]:
        """All that there are, in a namespace or everywhere."""
        found = self.ask("GET", self.path(kind, namespace), query=query)["items"]
        assert isinstance(found, list)
        return found

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        try:
            return self.ask("GET", self.path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, kind: str, namespace: str, content: Object) -> Object:
        return self.ask("POST", self.path(kind, namespace), content)

    def merge(self, kind: str, namespace: str, name: str, content: Object, part: str = "") -> Object:
        """A merge patch of an object, or of its `part`: status."""
        return self.ask("PATCH", self.path(kind, namespace, name, part), content, MERGE)

    def delete(self, kind: str, namespace: str, name: str, content: Object | None = None) -> None:
        """Nothing happens where there is none."""
        try:
            self.ask("DELETE", self.path(kind, namespace, name), content or {})
        except ApiError as error:
            if error.status != 404:
                raise

    @staticmethod
    def path(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
        steps = [GROUPS[kind], *(["namespaces", namespace] if namespace else []), kind, name, part]
        return "/" + "/".join(quote(step, safe="/") for step in steps if step)

    def ask(
        self,
        method: str,
        path: str,
        content: Object | None = None,
        media_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Object:
        """Raises ApiError, and OSError or HTTPException where there is no server."""
        target = f"{path}?{urlencode(query)}" if query else path
        body = None if content is None else json.dumps(content)
        headers = self._headers | ({"content-type": media_type} if body is not None else {})
        connection = self._connection()
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if answer.status >= 300:
            raise ApiError(answer.status, text.decode(errors="replace"))
        said: Object = json.loads(text)
        return said

    def is_ready(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/readyz", headers=self._headers)
            return connection.getresponse().read() == b"ok"
        except (OSError, http.client.HTTPException):
            connection.close()
            return False

    def _connection(self) -> http.client.HTTPSConnection:
        if not hasattr(self._mine, "connection"):
            made = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=TIMEOUT_S, context=self._tls)
            self._mine.connection = made
        connection: http.client.HTTPSConnection = self._mine.connection
        return connection
