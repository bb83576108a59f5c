"""What every section of the settings is: nothing unknown in it, and nothing that changes."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
