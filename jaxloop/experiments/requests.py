"""What a loop's protocol asks for, and the plan that it follows: values that pass between it and its driver."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config
from jaxloop.experiments.spending import Spending
from jaxloop.experiments.verdict import Criteria


class Ask(NamedTuple):
    """Asks for configs to try in a round; answered with a list of `Proposal`."""

    round: int
    known: list[Known]
    incumbent: Config
    wanted: int


class Train(NamedTuple):
    """Asks for trainings; answered with `Trained`.

    task: that trains them instead of the loop's own; "" for that.
    rungs: shares of a training's steps; at each the worse half of the configs stops.
    min_promoted: how many configs survive each rung at least.
    """

    stage: str
    round: int
    configs: list[Config]
    seeds: list[int]
    split: str = "validation"
    task: str = ""
    rungs: tuple[float, ...] = ()
    min_promoted: int = 1


class Trained(NamedTuple):
    """What trainings gave.

    values: (configs, seeds) of the metric as last measured, NaN where one is not finite.
    steps: (configs, seeds) that they took.
    stopped_at: how far each config came that lost at a rung; None for one that did not.
    """

    values: np.ndarray
    steps: np.ndarray
    stopped_at: list[int | None]


class Hypothesis(NamedTuple):
    """What a person or an agent wants to know: whether a config beats the incumbent.

    changed: hparams that differ from the incumbent.
    expected: the effect that is predicted, in units of the metric.
    planned: how many tries are planned in all; None if that is open.
    task: that trains the changed config; "" for the loop's own.
    """

    changed: Config
    because: str
    expected: float | None = None
    planned: int | None = None
    task: str = ""


class Hear(NamedTuple):
    """Asks for the next `Hypothesis`; answered with None where there is none."""


class Clock(NamedTuple):
    """Asks for the seconds that the loop has been training."""


class Note(NamedTuple):
    """A record for the ledger."""

    record: dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """What a loop may spend on its rounds; it begins no round once one of these is spent. None is without bound.

    Attributes:
      experiments: proposals, each with a config of its own.
      member_steps: of all trainings together.
      seconds: of training.
    """

    experiments: int | None = None
    member_steps: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LoopPlan:
    """A loop's criteria and sizes, fixed before its first round.

    Attributes:
      baseline: the first incumbent.
      rounds, configs, promote: how many rounds, proposals in each, and challengers of these.
      screen_seeds: how many each stage of screening adds; each keeps the better half.
      rungs: shares of a training's steps, ascending; at each the worse half of a round's proposals stops.
      floor_seeds, audit_seeds: how many the baseline and the closing audit are trained on.
      alpha_of_tries: what of alpha is kept from the rounds.
    """

    baseline: Config
    criteria: Criteria
    spending: Spending
    rounds: int
    configs: int
    promote: int
    floor_seeds: int
    audit_seeds: int
    alpha_of_tries: float
    budget: Budget = Budget()
    screen_seeds: tuple[int, ...] = (1, 1, 2)
    rungs: tuple[float, ...] = ()


Request = Ask | Train | Clock | Hear | Note
Requests = Generator[Request, Any, None]
