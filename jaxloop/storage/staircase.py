"""A loop's incumbent step by step: what it is estimated to gain over the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SUCCESS = "success"  # a verdict


@dataclass(frozen=True)
class Stair:
    """The incumbent after a round, or after a try that succeeded.

    Attributes:
      experiments: how many had been recorded, which is the id of the last.
      effect: the sum of its successes' effects.
      low, high: ends of its interval, at the largest of the levels used; each success has seeds of its own, so
        half-widths add by their squares.
      config: its hparams among the axes; empty at first, for the baseline.
      experiment: the id of the success that it came by; None where the incumbent stayed.
    """

    experiments: int
    effect: float
    low: float
    high: float
    config: dict[str, Any]
    experiment: int | None


def staircase(ledger: Sequence[Mapping[str, Any]]) -> list[Stair]:
    """Return the steps of a loop's incumbent, from the baseline on."""
    experiments = [record for record in ledger if record["kind"] == "experiment"]
    steps = [Stair(0, 0.0, 0.0, 0.0, {}, None)]
    for each in (record for record in ledger if record["kind"] == "round"):
        won = [
            record
            for record in experiments
            if record["round"] == each["round"]
            and record["proposer"] != "try"
            and record["verdict"] == SUCCESS
            and record["config"] == each["incumbent"]
        ]
        at = each["experiments"]
        steps.append(
            _climbed(steps[-1], at, won[0]) if won else replace(steps[-1], experiments=at, experiment=None)
        )
    for record in experiments:
        if record["proposer"] == "try" and record["verdict"] == SUCCESS and not record.get("task"):
            steps.append(_climbed(steps[-1], record["id"], record))
    return steps


def _climbed(last: Stair, experiments: int, won: Mapping[str, Any]) -> Stair:
    effect = last.effect + won["effect"]
    reach = math.hypot((last.high - last.low) / 2, (won["high"] - won["low"]) / 2)
    return Stair(experiments, effect, effect - reach, effect + reach, dict(won["config"]), won["id"])
