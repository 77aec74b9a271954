"""The sections of a sweep file, as pydantic checks them: shapes and types, key by key."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from jaxloop.axes import Axis, Value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Run(Section):
    task: str
    steps: int = Field(ge=1, le=2**31 - 1)
    evaluate_every: int = Field(100, ge=1)


class Population(Section):
    sampler: Literal["grid", "zip", "random", "sobol"] = "grid"
    members: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    capacity: Literal["auto"] | int = "auto"
    width: Literal["auto"] | int = "auto"
    max_members: int = Field(100_000, ge=1)

    @field_validator("capacity", "width", mode="after")
    @classmethod
    def _positive(cls, value):
        if value != "auto" and value < 1:
            raise ValueError('needs "auto" or an integer >= 1')
        return value


class Evaluate(Section):
    batch_size: int = Field(1000, ge=1)
    metric: str = "validation/accuracy"
    mode: Literal["max", "min"] = "max"


class Checkpoint(Section):
    every: int | str = "60s"
    keep: str = "all"

    @field_validator("every")
    @classmethod
    def _steps_or_seconds(cls, value):
        if (isinstance(value, int) and value >= 1) or (isinstance(value, str) and _seconds(value)):
            return value
        raise ValueError('needs steps (an integer >= 1) or a time such as "60s", "5m", "1h"')

    @field_validator("keep")
    @classmethod
    def _keep(cls, value):
        if value in ("all", "none") or re.fullmatch(r"best:[1-9]\d*", value):
            return value
        raise ValueError('needs "all", "none" or "best:K"')

    def seconds(self) -> float | None:
        """The interval as a time, or None where it counts steps."""
        return _seconds(self.every) if isinstance(self.every, str) else None


class Document(Section):
    """The file's sections."""

    run: Run
    data: dict[str, Any] = {}
    hparams: dict[str, Value] = {}
    axes: dict[str, Axis] = {}
    population: Population = Field(default_factory=lambda: Population.model_validate({}))
    evaluate: Evaluate = Field(default_factory=lambda: Evaluate.model_validate({}))
    checkpoint: Checkpoint = Field(default_factory=lambda: Checkpoint.model_validate({}))


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match and float(match[1]) > 0 else None
