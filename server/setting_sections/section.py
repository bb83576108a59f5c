"""What every section of the settings is: nothing unknown in it, and nothing that changes."""

from pydantic import BaseModel, ConfigDict, ValidationError

OWN_WORDS = "Value error, "  # pydantic puts it before what our own validators say


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def mistakes_in(problem: ValidationError) -> list[tuple[str, str]]:
    """Each setting that is wrong, as `section.name`, and why, in words for who wrote it."""
    return [
        (
            ".".join(map(str, mistake["loc"])),
            "there is no such setting"
            if mistake["type"] == "extra_forbidden"
            else mistake["msg"].removeprefix(OWN_WORDS),
        )
        for mistake in problem.errors()
    ]
