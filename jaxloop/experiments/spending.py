"""How a loop allocates its type I error, and the power that this leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import optimize, stats


@dataclass(frozen=True)
class Spending:
    """A plan of how much of alpha each comparison may use, fixed before the first round.

    The bound over a loop follows from Bonferroni's inequality within a round; the share of a round's alpha that
    belongs to its successes is recycled into the next one, as in the fallback procedure (Wiens 2003).

    Attributes:
      alpha: the chance of one false success or more, in the whole loop.
      rounds: how many are planned; None for a loop without an end, whose rounds get decreasing shares.
      looks: the numbers of paired seeds at which a comparison is judged, ascending.
      shares: of a comparison's alpha at each look; they sum to 1.
      control: "loop" bounds the whole loop; "round" gives each round all of alpha, and bounds each round alone.
    """

    alpha: float = 0.05
    rounds: int | None = None
    looks: Sequence[int] = (8, 16, 32)
    shares: Sequence[float] = (0.2, 0.3, 0.5)
    control: Literal["loop", "round"] = "loop"

    def weight(self, number: int) -> float:
        """Return the share of alpha that a round has from the start, by its number from 1 on."""
        if self.rounds is None:
            return 1 / (number * (number + 1))
        return 1 / self.rounds if number <= self.rounds else 0.0

    def of_round(self, number: int, recycled: float = 0.0) -> float:
        """Return the alpha that a round may spend.

        Args:
          number: of the round, from 1 on.
          recycled: as `recycled` gives it of the round before.
        """
        return self.alpha if self.control == "round" else self.alpha * self.weight(number) + recycled

    def level(self, of_round: float, look: int, comparisons: int) -> float:
        """Return the level of one test.

        Args:
          of_round: alpha of its round.
          look: its index in `looks`.
          comparisons: of the round, each with a challenger of its own.
        """
        return of_round * self.shares[look] / comparisons

    def recycled(self, of_round: float, successes: int, comparisons: int) -> float:
        """Return the alpha passed on to the next round: that of the comparisons that were successes."""
        return of_round * successes / comparisons if comparisons and self.control == "loop" else 0.0


def power(effect: float, pairs: int, level: float) -> float:
    """Return the chance that a one-sided paired t-test sees an effect.

    Args:
      effect: in standard deviations of the paired differences.
      pairs: of seeds, 2 or more.
      level: of the test.
    """
    threshold = stats.t.isf(level, pairs - 1)
    return float(stats.nct.sf(threshold, pairs - 1, effect * np.sqrt(pairs)))


def resolved(pairs: int, level: float, wanted: float = 0.8) -> float:
    """Return the smallest effect that is seen with this power, in standard deviations of paired differences.

    Args:
      pairs: of seeds, 2 or more.
      level: of the one-sided test.
      wanted: the power.
    """
    found: Any = optimize.brentq(lambda effect: power(effect, pairs, level) - wanted, 0.0, 1e3)
    return float(found)


def seeds_needed(effect: float, level: float, wanted: float = 0.8, most: int = 100_000) -> int | None:
    """Return the fewest paired seeds with which an effect is seen with this power; None if more than `most` are.

    Args:
      effect: in standard deviations of the paired differences, above 0.
      level: of the one-sided test.
      wanted: the power.
    """
    low, high = 1, 2
    while power(effect, high, level) < wanted:
        low, high = high, 2 * high
        if low >= most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, level) >= wanted else (middle, high)
    return high if high <= most else None
