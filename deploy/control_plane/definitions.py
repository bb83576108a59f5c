"""What Kubernetes says of its types, as its API server wants it: made of the source's swagger.json.

Upstream generates Go out of its types, and the swagger file out of that. This goes the other way, which spares the
generator and the compiling of what it writes. Texts for readers are left out.
"""

from typing import Any

REFERENCE = "#/definitions/"
# Connecting to pods takes these, of which nothing is published. They hold nothing here: nobody applies them.
UNPUBLISHED = "PodExec PodAttach PodPortForward PodProxy PodLog NodeProxy ServiceProxy".split()
# The one default that the Go types have and the published ones lack; server-side apply tells ports apart by it.
PORT = "k8s.io/api/core/v1.ContainerPort"


def definitions(swagger: dict[str, Any]) -> dict[str, Any]:
    """By the type's name in Go: its schema, and the names of the types that it is made of."""
    made = {}
    for name, schema in swagger["definitions"].items():
        needs: set[str] = set()
        made[go_name(name)] = {"schema": without_texts(schema, needs), "dependencies": sorted(needs)}
    for kind in UNPUBLISHED:
        made[f"k8s.io/api/core/v1.{kind}Options"] = {"schema": {"type": "object"}, "dependencies": []}
    made[PORT]["schema"]["properties"]["protocol"]["default"] = "TCP"
    return made


def go_name(published: str) -> str:
    """io.k8s.api.core.v1.Pod is k8s.io/api/core/v1.Pod."""
    *path, kind = published.split(".")
    return "/".join((f"{path[1]}.{path[0]}", *path[2:])) + f".{kind}"


def without_texts(schema: Any, needs: set[str]) -> Any:
    """The same without descriptions; a property that is called so stays. Adds what it refers to to `needs`."""
    if isinstance(schema, list):
        return [without_texts(each, needs) for each in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        needs.add(go_name(reference.removeprefix(REFERENCE)))
    return {
        key: without_texts(value, needs)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str))
    }
