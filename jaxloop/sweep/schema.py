"""The sections of a sweep file, as pydantic checks them: shapes and types, key by key."""

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from jaxloop.sweep.axes import Axis, Value, size
from jaxloop.sweep.catalog import direction
from jaxloop.sweep.suggest import not_one_of


def _one_of(*choices: str) -> BeforeValidator:
    def check(value: Any) -> Any:
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


class RunSection(Section):
    task: str
    steps: int = Field(ge=1, le=2**31 - 1)
    evaluate_every: int = Field(100, ge=1, le=2**31 - 1)


class PopulationSection(Section):
    sampler: Annotated[str, _one_of("grid", "zip", "random", "sobol")] = "grid"
    members: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    capacity: Annotated[Any, BeforeValidator(_auto_or_count)] = "auto"
    group_size: Annotated[Any, BeforeValidator(_auto_or_count)] = "auto"
    deterministic: bool = False
    scheduler: Annotated[str, _one_of("budget", "halving", "asha", "median", "pbt")] = "budget"
    max_members: int = Field(100_000, ge=1)


class EvaluateSection(Section):
    batch_size: int = Field(1000, ge=1)
    metric: str = "auto"
    mode: Annotated[str, _one_of("auto", "max", "min")] = "auto"


class CheckpointSection(Section):
    every: Annotated[Any, BeforeValidator(_interval)] = "60s"
    keep: Annotated[str, BeforeValidator(_kept)] = "all"
    best: str = ""  # the metric by which each member's best parameters are kept beside its last; "" for none

    def seconds(self) -> float | None:
        """Return the interval as a time, or None where it counts steps."""
        return _seconds(self.every) if isinstance(self.every, str) else None


PROPOSERS = ("grid", "random", "sobol", "evolution", "tpe", "command")


def _proposers(value: Any) -> Any:
    """Check the name of a proposer, or a table of several with the share of a round that each has."""
    for name in value if isinstance(value, dict) else [value]:
        if name not in PROPOSERS:
            raise ValueError(not_one_of(name, PROPOSERS))
    if isinstance(value, dict):
        if not value or not all(isinstance(share, int | float) and share > 0 for share in value.values()):
            raise ValueError(f"needs a share above 0 for each proposer, got {value!r}")
        return {name: float(share) for name, share in value.items()}
    return value


def _rounds(value: Any) -> Any:
    if value == "open" or (type(value) is int and 0 <= value <= 1000):
        return value
    raise ValueError(f'needs an integer from 0 to 1000, or "open" for as many as the budget allows, got {value!r}')


class BudgetSection(Section):
    """What the rounds of a loop may spend; none begins once one of these is spent."""

    experiments: int | None = Field(None, ge=1)
    member_steps: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)


class LoopSection(Section):
    """How a loop proposes configs and screens them."""

    proposer: Annotated[Any, BeforeValidator(_proposers)] = "random"
    command: str = ""  # of the proposer of that name
    timeout: float = Field(default=60.0, gt=0)  # of one answer, in seconds
    retries: int = Field(default=2, ge=0, le=100)  # of answers that give nothing to try
    fallback: Annotated[str, _one_of("random", "end")] = "random"  # where no answer does
    rounds: Annotated[Any, BeforeValidator(_rounds)] = 3
    budget: BudgetSection = Field(default_factory=lambda: BudgetSection.model_validate({}))
    reserve: float = Field(default=0.0, ge=0, lt=1)  # share of alpha that is kept for `try`
    configs: int = Field(default=32, ge=2, le=10_000)  # proposed in a round
    promote: int = Field(default=4, ge=1, le=100)  # of these, to be confirmed
    # of screening's stages, each of which keeps the better half
    screen_seeds: list[Annotated[int, Field(ge=1, le=100)]] = Field(default=[1, 1, 2], min_length=1, max_length=10)
    # shares of a training's steps, at which the worse half of a round's proposals stops
    rungs: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[], max_length=10)
    control: Annotated[Literal["loop", "round"], _one_of("loop", "round")] = "loop"
    seed: int = Field(default=0, ge=0)  # of the proposer
    floor_seeds: int = Field(default=16, ge=4, le=1000)
    audit_seeds: int = Field(default=32, ge=2, le=1000)

    def is_open(self) -> bool:
        """Return whether only the budget bounds the number of rounds."""
        return self.rounds == "open"

    def shares(self) -> dict[str, float]:
        """Return the share of a round that each proposer has; they sum to 1."""
        shares = self.proposer if isinstance(self.proposer, dict) else {self.proposer: 1.0}
        return {name: share / sum(shares.values()) for name, share in shares.items()}


class VerdictSection(Section):
    """By which criteria a loop judges; fixed before its first round."""

    smallest_effect: float = Field(default=0.0, ge=0)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    looks: list[int] = Field(default=[8, 16, 32], min_length=1)
    shares: list[float] = Field(default=[0.2, 0.3, 0.5], min_length=1)

    @model_validator(mode="after")
    def _agree(self) -> Any:
        if self.looks != sorted(set(self.looks)) or self.looks[0] < 2:
            raise ValueError(f"`looks` needs ascending numbers of seeds from 2 on, got {self.looks}")
        if self.looks[-1] > 10_000:
            raise ValueError(f"`looks` needs at most 10000 seeds, got {self.looks[-1]}")
        if len(self.shares) != len(self.looks) or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"`shares` needs one share above 0 for each look, 1 in all, got {self.shares}")
        return self


def _finite(value: Any) -> Any:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, float) and not math.isfinite(each):
            raise ValueError(f"needs a finite number, got {each!r}")
    return value


def _value_or_axis(value: Any) -> Any:
    return Axis.model_validate(value) if isinstance(value, dict) else TypeAdapter(Value).validate_python(value)


class Span(NamedTuple):
    """What a sampler spans: the axes that cross each other, and the values that all its members share."""

    hparams: dict[str, Any]
    axes: dict[str, Axis]


class Document(Section):
    """The file's sections; each of `cases` adds its own hparams and axes to the common ones."""

    run: RunSection
    data: dict[str, Annotated[Any, BeforeValidator(_finite)]] = {}
    hparams: dict[str, Value] = {}
    axes: dict[str, Axis] = {}
    cases: dict[str, dict[str, Annotated[Any, BeforeValidator(_value_or_axis)]]] = {}
    baseline: dict[str, Value] = {}
    loop: LoopSection | None = None
    verdict: VerdictSection | None = None
    population: PopulationSection = Field(default_factory=lambda: PopulationSection.model_validate({}))
    evaluate: EvaluateSection = Field(default_factory=lambda: EvaluateSection.model_validate({}))
    checkpoint: CheckpointSection = Field(default_factory=lambda: CheckpointSection.model_validate({}))

    def entries(self) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield every hparam that the file names, by its path: a value, or an `Axis`."""
        for section in ("hparams", "axes", "baseline"):
            yield from (((section, name), entry) for name, entry in getattr(self, section).items())
        for case, entries in self.cases.items():
            yield from ((("cases", case, name), entry) for name, entry in entries.items())

    def all_axes(self) -> dict[str, Axis]:
        """Return every axis by name, those of the cases too."""
        found = {path[-1]: entry for path, entry in self.entries() if isinstance(entry, Axis)}
        return {**self.axes, **found}

    def varied(self) -> list[str]:
        """Return the hparams in which members may differ."""
        seeds = {"seed": None} if self.loop else {}
        return list({**self.axes, **{name: None for entries in self.cases.values() for name in entries}, **seeds})

    def grids(self) -> list[Span]:
        """Return what the members are drawn from: one grid a case; without cases, one.

        A loop begins with its baseline, and proposes all other members as it goes.
        """
        if self.loop:
            seeds = Axis.model_validate({"values": list(range(self.loop.floor_seeds))})
            first = self.fixed(self.case_of_baseline())
            return [Span({**self.hparams, **first, **self.baseline}, {"seed": seeds})]
        return list(self.spanned().values())

    def spanned(self) -> dict[str, Span]:
        """Return what each case spans; without cases, what the whole sweep does, as that of ""."""
        return {
            case: Span({**self.hparams, **self.fixed(case)}, {**self.axes_of(case), **self.axes})
            for case in (self.cases or [""])
        }

    def axes_of(self, case: str) -> dict[str, Axis]:
        """Return the axes of a case's own; none for a case that is not there."""
        return {name: entry for name, entry in self.cases.get(case, {}).items() if isinstance(entry, Axis)}

    def fixed(self, case: str) -> dict[str, Any]:
        """Return the hparams that a case fixes; none for a case that is not there."""
        return {name: entry for name, entry in self.cases.get(case, {}).items() if not isinstance(entry, Axis)}

    def case_of_baseline(self) -> str:
        """Return the case in which a loop begins, the first that has what [baseline] names; "" without cases."""
        own = {name: value for name, value in self.baseline.items() if name not in self.axes}
        for case in self.cases:
            fixed, axes = self.fixed(case), self.axes_of(case)
            if all(name in axes or fixed.get(name) == value for name, value in own.items()):
                return case
        return next(iter(self.cases), "")

    def obstacle_to_more_steps(self) -> str | None:
        """Return why finished members of this sweep cannot take more steps; None if they can."""
        if self.loop or self.population.scheduler != "budget":
            return "its loop or scheduler decides how long each member trains"
        if self.checkpoint.keep != "all":
            return f"checkpoint.keep = {self.checkpoint.keep!r} does not keep training states"
        return None

    def mode_of(self, metric: str) -> str | None:
        """Return what is better of a metric, "max" or "min"; None if it is not known."""
        return direction(metric, self.evaluate.mode if metric == self.evaluate.metric else "auto")

    def count(self) -> int:
        """Return how many members there are, without listing them."""
        draws = self.population
        return sum(size(grid.axes, draws.sampler, draws.members) for grid in self.grids())
