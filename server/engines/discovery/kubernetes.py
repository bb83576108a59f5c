"""Engines behind a Kubernetes service: its EndpointSlices, watched through the official client ."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from server.engines.discovery.dns import make_url, of_one_family

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kubernetes_asyncio.client import ApiClient

log = logging.getLogger("fovea.engines")

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
SERVICE_LABEL = "kubernetes.io/service-name"
# After so long the API server ends a watch by itself, and we go on from where it was.
WATCH_S = 300
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
GONE = 410  # what we have seen is too old to go on from: look anew
MOST_SLICES = 256


class KubernetesSource:
    """At most `most` ready addresses of a service. What was seen last stays while the API server cannot be asked.

    `port` is a slice's port by name or number. `kubeconfig` None: the pod's own service account.
    """

    def __init__(
        self, service: str, port: str, most: int, namespace: str | None = None, kubeconfig: Path | None = None
    ) -> None:
        self.written: Sequence[str] | None = None
        self.changed = asyncio.Event()
        self._service = service
        self._port = port
        self._most = most
        self._namespace = namespace
        self._kubeconfig = kubeconfig
        self._slices: dict[str, Any] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def urls(self) -> Sequence[str] | None:
        if self._watching is not None and self._watching.done():
            # The client raises bare Exceptions at what it cannot read: from the start, then.
            log.warning("the EndpointSlices of %s: %s", self._service, type(self._watching.exception()).__name__)
            self._watching = None
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name=f"EndpointSlices of {self._service}")
        if self._slices is None:
            return None
        found = [pair for each in self._slices.values() for pair in endpoints_of(each, self._port)]
        ports = dict(sorted(found))
        return [make_url(address, ports[address]) for address in of_one_family(list(ports))][: self._most]

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        """List, then follow; whatever goes wrong, again after a pause that grows."""
        from kubernetes_asyncio.client.exceptions import ApiException
        from kubernetes_asyncio.config import ConfigException

        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._client() as client:
                    version = await self._list(client)
                    pause_s = FIRST_PAUSE_S
                    while True:
                        version = await self._follow(client, version)
            except ApiException as problem:
                if problem.status != GONE:
                    log.warning("the EndpointSlices of %s: status %s", self._service, problem.status)
            except (ConfigException, aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as problem:
                log.warning("the EndpointSlices of %s: %s", self._service, type(problem).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @asynccontextmanager
    async def _client(self) -> "AsyncIterator[ApiClient]":
        from kubernetes_asyncio import config
        from kubernetes_asyncio.client import ApiClient, Configuration

        configuration = Configuration()
        if self._kubeconfig is not None:
            await config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)
        else:
            config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        async with ApiClient(configuration) as client:
            yield client

    async def _list(self, client: "ApiClient") -> str:
        """Take what there is now; the version to follow from."""
        from kubernetes_asyncio.client import DiscoveryV1Api

        listed = await DiscoveryV1Api(client).list_namespaced_endpoint_slice(
            self._in(), label_selector=f"{SERVICE_LABEL}={self._service}", limit=MOST_SLICES
        )
        plain = client.sanitize_for_serialization(listed)
        self._slices = {each["metadata"]["name"]: each for each in plain.get("items") or ()}
        self.changed.set()
        return str(plain["metadata"]["resourceVersion"])

    async def _follow(self, client: "ApiClient", version: str) -> str:
        """Until the API server ends the watch; the version to go on from. Raises ApiException 410: look anew."""
        from kubernetes_asyncio.client import DiscoveryV1Api
        from kubernetes_asyncio.watch import Watch

        assert self._slices is not None
        async with Watch() as watch:
            async for event in watch.stream(
                DiscoveryV1Api(client).list_namespaced_endpoint_slice,
                self._in(),
                label_selector=f"{SERVICE_LABEL}={self._service}",
                resource_version=version,
                allow_watch_bookmarks=True,
                timeout_seconds=WATCH_S,
            ):
                each = event["raw_object"]
                version = str(each["metadata"]["resourceVersion"])
                if event["type"] == "DELETED":
                    self._slices.pop(each["metadata"]["name"], None)
                elif event["type"] in ("ADDED", "MODIFIED") and len(self._slices) < MOST_SLICES:
                    self._slices[each["metadata"]["name"]] = each
                self.changed.set()
        return version

    def _in(self) -> str:
        return self._namespace or OWN_NAMESPACE.read_text().strip()


def endpoints_of(endpoint_slice: dict[str, Any], port: str) -> list[tuple[str, int]]:
    """(address, port) of each endpoint that may be sent requests: ready, as far as is told, and not going."""
    numbers = [
        each["port"]
        for each in endpoint_slice.get("ports") or ()
        if each.get("port") and port in (each.get("name"), str(each["port"]))
    ]
    if not numbers or endpoint_slice.get("addressType") == "FQDN":
        return []
    return [
        (address, numbers[0])
        for endpoint in endpoint_slice.get("endpoints") or ()
        if is_usable(endpoint.get("conditions") or {})
        for address in (endpoint.get("addresses") or ())[:1]
    ]


def is_usable(conditions: dict[str, Any]) -> bool:
    return conditions.get("ready") is not False and not conditions.get("terminating")
