"""A checkpoint in an OCI registry, as `push` leaves one: a layer a file, named by its title, by its own digest."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from quantize.errors import PullFailed
from quantize.optional import library
from quantize.origins.origin import SourceFile, SourceLost, after, failure, told

TITLE = "org.opencontainers.image.title"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
LOGIN = "log in (docker login, or oras login), or give the pod the registry's secret as ~/.docker/config.json"
TIMEOUTS_S = (10, 60)  # to connect, and of any silence
CHUNK = 1 << 20


class Registry:
    """`where`: HOST/NAME:TAG or HOST/NAME@sha256:...; `insecure`: over http."""

    def __init__(self, where: str, insecure: bool) -> None:
        self.where = where
        oras = library("oras.client")
        self._client: Any = oras.OrasClient(hostname=where.partition("/")[0], insecure=insecure)
        self._client.session.request = functools.partial(self._client.session.request, timeout=TIMEOUTS_S)
        self._container: Any = self._client.get_container(where)

    def files(self) -> list[SourceFile]:
        try:
            self._client.auth.load_configs(self._container)
            accept = "application/vnd.oci.image.manifest.v1+json"
            answer = self._ask(self._container.manifest_url(), {"Accept": accept})
            if answer.status_code != 200:
                raise PullFailed(str(failure(self.where, answer.status_code, LOGIN)))
            layers = answer.json()["layers"]
            found = [self._file(layer) for layer in layers]
        except (KeyError, TypeError) as problem:
            raise PullFailed(f"{self.where} holds no checkpoint that fovea-quantize push has written") from problem
        except (OSError, ValueError) as problem:  # requests' errors are OSErrors, the library's own ValueErrors
            raise PullFailed(f"{self.where} cannot be read: {told(problem)} ({LOGIN})") from problem
        return found

    def _file(self, layer: dict[str, Any]) -> SourceFile:
        """Raises KeyError, TypeError: nothing of ours."""
        digest = DIGEST.fullmatch(layer["digest"])
        if digest is None:
            raise KeyError("digest")
        return SourceFile(layer["annotations"][TITLE], int(layer["size"]), digest[1], digest[1])

    def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        try:
            url = self._container.get_blob_url(f"sha256:{file.sha256}")
            with self._ask(url, headers, stream=True) as answer:
                if answer.status_code not in (200, 206):
                    raise failure(f"{file.name} of {self.where}", answer.status_code, LOGIN)
                yield from after(start, answer.status_code, answer.iter_content(CHUNK))
        except (OSError, ValueError) as problem:
            raise SourceLost(told(problem)) from problem

    def _ask(self, url: str, headers: dict[str, str], stream: bool = False) -> Any:
        """Once: the library itself would ask again for minutes, from the first byte."""
        once = type(self._client).do_request.__wrapped__
        return once(self._client, f"{self._client.prefix}://{url}", "GET", headers=headers, stream=stream)
