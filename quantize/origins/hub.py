"""A checkpoint on the hub: listed by the hub's own library, with its token, cache-free; digests are the hub's."""

from collections.abc import Iterator
from typing import Any

from quantize.errors import PullFailed
from quantize.optional import library
from quantize.origins.origin import SourceFile, SourceLost, after, failure, told

LOGIN = "a private or gated one needs a token (HF_TOKEN, or hf auth login)"
TIMEOUT_S = 60.0


class Hub:
    """Of one commit: what `revision` (a branch, a tag, a commit) is when the files are listed."""

    def __init__(self, name: str, revision: str | None) -> None:
        self.where = name if revision is None else f"{name}@{revision}"
        self._name = name
        self._revision = revision
        self._commit = ""
        self._hub: Any = library("huggingface_hub")

    def files(self) -> list[SourceFile]:
        try:
            info = self._hub.HfApi().model_info(
                self._name, revision=self._revision, files_metadata=True, timeout=TIMEOUT_S
            )
        except (OSError, ValueError, self._http().HTTPError) as problem:
            answer = getattr(problem, "response", None)
            if answer is None:
                raise PullFailed(f"{self.where} cannot be read: {told(problem)}") from problem
            raise _final(failure(self.where, answer.status_code, LOGIN)) from problem
        self._commit = info.sha
        return [self._file(each) for each in info.siblings]

    def _file(self, sibling: Any) -> SourceFile:
        sha256 = sibling.lfs.sha256 if sibling.lfs else None
        git = None if sha256 else sibling.blob_id
        return SourceFile(sibling.rfilename, sibling.size, sha256 or str(git), sha256, git)

    def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
        url = self._hub.hf_hub_url(self._name, file.name, revision=self._commit)
        headers = {**utils().build_hf_headers(), "accept-encoding": "identity"}
        if start:
            headers["range"] = f"bytes={start}-"
        try:
            with (
                utils()
                .get_session()
                .stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as answer
            ):
                if answer.status_code not in (200, 206):
                    raise failure(f"{self.where}/{file.name}", answer.status_code, LOGIN)
                yield from after(start, answer.status_code, answer.iter_raw())
        except (OSError, self._http().HTTPError) as problem:
            raise SourceLost(told(problem)) from problem

    def _http(self) -> Any:
        """The library's own HTTP library, whose errors are no OSErrors."""
        return library(type(utils().get_session()).__module__.partition(".")[0])


def utils() -> Any:
    return library("huggingface_hub.utils")


def _final(problem: Exception) -> PullFailed:
    return problem if isinstance(problem, PullFailed) else PullFailed(str(problem))
