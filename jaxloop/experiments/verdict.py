"""A verdict on a challenger: what its paired differences from the incumbent say, by criteria fixed beforehand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special


class Outcome(StrEnum):
    """The result of a comparison."""

    SUCCESS = "success"
    TIE = "tie"
    DEAD = "tie (dead hparam)"  # equal to the bit for every seed: what was changed does nothing
    FAILURE = "failure"
    UNDECIDED = "undecided"
    CRASH = "crash"  # no seed of the challenger ended with a finite value


EXIT_CODES = {  # of `jaxloop try`
    Outcome.SUCCESS: 0,
    Outcome.TIE: 10,
    Outcome.DEAD: 10,
    Outcome.FAILURE: 11,
    Outcome.UNDECIDED: 12,
    Outcome.CRASH: 13,
}


@dataclass(frozen=True)
class Criteria:
    """What counts as better.

    Attributes:
      mode: "max" or "min", which values of the metric are better.
      smallest_effect: the smallest difference that matters, in units of the metric; differences that are shown to
        be smaller are ties. At 0, only dead hparams tie.
    """

    mode: str
    smallest_effect: float = 0.0

    @property
    def sign(self) -> float:
        """What a value of the metric is multiplied by, so that more is better."""
        return 1.0 if self.mode == "max" else -1.0


@dataclass(frozen=True)
class Verdict:
    """What a comparison of n pairs says.

    Attributes:
      outcome: None where more seeds may decide it.
      effect: mean of the differences, challenger minus incumbent; more than 0 is better, whatever the mode.
      low, high: ends of the confidence interval of the effect; each is wrong with probability `level` at most.
      p: of the one-sided paired t-test that the challenger is no better.
      level: that p was compared with.
      n: pairs of seeds.
      rho: the correlation of the two over seeds; NaN where one of them does not vary.
      not_finite: how many seeds of the challenger had no finite value, and were given the worst one seen.
    """

    outcome: Outcome | None
    effect: float
    low: float
    high: float
    p: float
    level: float
    n: int
    rho: float
    not_finite: int


def judge(
    challenger: Sequence[float] | np.ndarray,
    incumbent: Sequence[float] | np.ndarray,
    criteria: Criteria,
    *,
    level: float,
    is_last: bool,
) -> Verdict:
    """Compare a challenger with the incumbent, both trained on the same n >= 2 seeds, by a paired t-test.

    A seed whose value is not finite gets the worst value that either of the two has shown: no pair is dropped.
    The tests are those of Student (1908), and for ties two one-sided ones (Schuirmann 1987), each at `level`.

    Args:
      challenger, incumbent: (n,) values of the metric, by seed.
      level: of each one-sided test.
      is_last: whether no more seeds will come.

    Raises:
      ValueError: the two differ in length, or have fewer than two seeds.
    """
    theirs, ours = (criteria.sign * np.asarray(values, float) for values in (challenger, incumbent))
    if theirs.shape != ours.shape or theirs.ndim != 1 or len(theirs) < 2:
        raise ValueError(f"needs two or more pairs of seeds, got {theirs.shape} and {ours.shape}")
    lost, n = int((~np.isfinite(theirs)).sum()), len(theirs)
    values = np.concatenate([theirs, ours])
    finite = values[np.isfinite(values)]
    if lost == n or not len(finite):
        return Verdict(Outcome.CRASH, math.nan, math.nan, math.nan, 1.0, level, n, math.nan, lost)
    theirs, ours = (np.where(np.isfinite(side), side, finite.min()) for side in (theirs, ours))
    differences = theirs - ours
    effect, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    margin = error * float(special.stdtrit(n - 1, 1 - level))
    low, high = effect - margin, effect + margin
    p = float(special.stdtr(n - 1, -effect / error)) if error else float(effect <= 0)
    outcome = _outcome(differences, low, high, criteria.smallest_effect, is_last=is_last)
    return Verdict(outcome, effect, low, high, p, level, n, _correlation(theirs, ours), lost)


def _outcome(
    differences: np.ndarray, low: float, high: float, smallest_effect: float, *, is_last: bool
) -> Outcome | None:
    if not differences.any():
        return Outcome.DEAD
    if -smallest_effect < low and high < smallest_effect:
        return Outcome.TIE
    if low > 0:
        return Outcome.SUCCESS
    if high < 0:
        return Outcome.FAILURE
    return Outcome.UNDECIDED if is_last else None


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if not first.std() or not second.std():
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])
