"""The sections of a sweep file, as pydantic checks them: shapes and types, key by key."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from jaxloop.axes import Axis, Value
from jaxloop.errors import not_one_of


def _one_of(*choices: str) -> BeforeValidator:
    def check(value):
        if value not in choices:
            raise ValueError(not_one_of(value, choices))
        return value

    return BeforeValidator(check)


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f'needs "auto" or an integer >= 1, got {value!r}')


def _interval(value: Any) -> Any:
    if (type(value) is int and value >= 1) or (isinstance(value, str) and _seconds(value)):
        return value
    raise ValueError(f'needs steps (an integer >= 1) or a time such as "60s", "5m", "1h", got {value!r}')


def _kept(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"all|none|best:[1-9]\d*", value):
        return value
    raise ValueError(f'needs "all", "none" or "best:K", got {value!r}')


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match and float(match[1]) > 0 else None


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Run(Section):
    task: str
    steps: int = Field(ge=1, le=2**31 - 1)
    evaluate_every: int = Field(100, ge=1, le=2**31 - 1)


class Population(Section):
    sampler: Annotated[str, _one_of("grid", "zip", "random", "sobol")] = "grid"
    members: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    capacity: Annotated[Any, BeforeValidator(_auto_or_count)] = "auto"
    width: Annotated[Any, BeforeValidator(_auto_or_count)] = "auto"
    max_members: int = Field(100_000, ge=1)


class Evaluate(Section):
    batch_size: int = Field(1000, ge=1)
    metric: str = "validation/accuracy"
    mode: Annotated[str, _one_of("auto", "max", "min")] = "auto"


class Checkpoint(Section):
    every: Annotated[Any, BeforeValidator(_interval)] = "60s"
    keep: Annotated[str, BeforeValidator(_kept)] = "all"

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
