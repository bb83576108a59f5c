"""The labels that several metrics have: each a closed set, or bounded by what is said here."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.domain import ANONYMOUS_NAME, PRIORITIES
from server.metering.label_classes import OTHERS, LabelClasses

# Told of by their names; all others share a few classes.
MOST_TENANTS = 50
MOST_MODELS = 256
# Who has no name: no keys are asked for, or the request's was not known.
NO_TENANT = "-"
NO_MODEL = "unknown"
CLASSES = f"`other-00` to `other-{OTHERS - 1}`"


@dataclass(frozen=True, slots=True)
class Label:
    """`values` are all that there are; where that is no closed set, `bound` says what keeps it small."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""


ROUTE = Label(
    "route",
    ("chat", "completions", "responses", "messages", "count_tokens", "tokenize", "detokenize", "estimate", "files"),
)
PRIORITY = Label("priority", PRIORITIES)
SOURCE = Label("source", ("data", "url", "file"))
MODEL = Label(
    "model",
    bound=f"the first {MOST_MODELS} that engines serve, as callers name them; later ones in {CLASSES}; what nobody "
    f"serves is `{NO_MODEL}`",
)
POOL = Label("model", bound="the models that engines serve, adapters and aliases left out: each has one line")
TENANT = Label(
    "tenant",
    bound=f"the first {MOST_TENANTS} tenants by their names; later ones in {CLASSES}, by a hash of the name; "
    f"`{NO_TENANT}` where no keys are asked for, or the request's was not known",
)
ENGINE = Label("engine", bound="the engines that are there; one that leaves takes its series along")
STATUS = Label("status", bound="of the answer; 499 where the caller left first")
CODE = Label("code", bound="[error codes](#errors), `client_left`, or nothing where all went well")
ERROR_CODE = Label("code", bound="[error codes](#errors)")
VERSION = Label("version", bound="one")


def make_tenant_classes() -> LabelClasses:
    return LabelClasses(MOST_TENANTS, {"": NO_TENANT, ANONYMOUS_NAME: NO_TENANT, NO_TENANT: NO_TENANT})


def make_model_classes() -> LabelClasses:
    return LabelClasses(MOST_MODELS, {"": NO_MODEL, NO_MODEL: NO_MODEL})


def make_classes() -> Mapping[str, LabelClasses]:
    """By label: what a sum over several workers goes through."""
    return {TENANT.name: make_tenant_classes(), MODEL.name: make_model_classes()}
