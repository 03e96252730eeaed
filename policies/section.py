"""The base of every table of the configuration file and of the rule files."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration file: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
