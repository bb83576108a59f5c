"""`push` to a real registry (Debian's docker-registry, which is the reference implementation of the protocol)."""

import hashlib
import json
import urllib.request
from pathlib import Path

from demo.processes import Running
from quantize.manifest import read_sums
from server.together import free_port


def push(folder: Path, destination: str) -> Running:
    return Running("quantize.cli", "push", str(folder), destination)


def get(host: str, path: str) -> bytes:
    request = urllib.request.Request(
        f"http://{host}/v2/models/demo/{path}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    with urllib.request.urlopen(request) as response:
        data: bytes = response.read()
        return data


def test_a_registry_gives_back_every_file_bit_for_bit(quantized: tuple[Path, str], registry: str) -> None:
    folder, destination = quantized[0], f"oci+http://{registry}/models/demo:1"
    first = push(folder, destination)
    assert first.finish(120) == 0, first.tail()
    layers = json.loads(get(registry, "manifests/1"))["layers"]
    names = {layer["annotations"]["org.opencontainers.image.title"]: layer["digest"] for layer in layers}
    assert names == {name: f"sha256:{digest}" for name, digest in read_sums(folder).items()} | {
        "SHA256SUMS": f"sha256:{hashlib.sha256((folder / 'SHA256SUMS').read_bytes()).hexdigest()}"
    }
    for name, digest in names.items():
        assert get(registry, f"blobs/{digest}") == (folder / name).read_bytes()
    again = push(folder, destination)
    assert again.finish(120) == 0, again.tail()
    assert json.loads(get(registry, "manifests/1"))["layers"] == layers


def test_a_registry_that_went_away_is_one_sentence(quantized: tuple[Path, str]) -> None:
    refused = push(quantized[0], f"oci+http://127.0.0.1:{free_port()}/models/demo:1")
    assert refused.finish(120) == 17
    assert refused.output.splitlines()[-1].startswith("fovea-quantize: ")
