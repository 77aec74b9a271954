"""The lead of a run's best config over each other one, with intervals that hold for all pairs of configs at once.

The best is chosen by looking at all, so alpha is shared by all pairs (Bonferroni). A few seeds say little about a
config's variance, so variances are shrunk towards a common prior (Smyth 2004, Statistical Applications in Genetics
and Molecular Biology 3, article 3). Variances differ between configs, so the intervals are Welch's. How often one
of them misses is in benchmarks/LOG.md.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from jaxloop.storage.ranking import RankedConfig

ALPHA = 0.05  # chance that a config of a run seems better than one that is as good, over all pairs together


class Lead(NamedTuple):
    """The lead of the best config over another.

    Attributes:
      effect: the difference of their means; more than 0 is better, whatever the mode.
      low, high: ends of its interval.
      seeds: how many either of the two has at least.
      deviation: standard deviation of the difference on one seed.
      level: of the one-sided test.
    """

    effect: float
    low: float
    high: float
    seeds: int
    deviation: float
    level: float


class Sample(NamedTuple):
    """What a config's seeds say: their mean and number, their variance and its degrees of freedom."""

    mean: float
    seeds: int
    variance: float
    degrees: float


def leads(configs: Sequence[RankedConfig], mode: str) -> list[Lead | None]:
    """Return the lead of the first of ranked configs over each other one; None where nothing estimates the noise.

    Args:
      configs: all of a run, each with a finite mean.
      mode: "max" or "min".
    """
    level = ALPHA / max(1, len(configs) * (len(configs) - 1))
    several = [
        (config.config, config.mean, config.finished, config.standard_error)
        for config in configs
        if config.mean is not None and config.standard_error is not None
    ]
    counts = np.array([seeds for _, _, seeds, _ in several], float)
    variances, degrees = shrunk(np.array([error for *_, error in several]) ** 2 * counts, counts - 1)
    samples = {
        config: Sample(mean, seeds, variance, freedom)
        for (config, mean, seeds, _), variance, freedom in zip(
            several, variances.tolist(), degrees.tolist(), strict=True
        )
    }
    best, *others = (samples.get(config.config) for config in configs)
    return [best and other and welch(best, other, 1.0 if mode == "max" else -1.0, level) for other in others]


def is_clear(lead: Lead | None) -> bool:
    """Return whether the best config's lead over another is more than noise."""
    return lead is not None and lead.low > 0


def welch(best: Sample, other: Sample, sign: float, level: float) -> Lead | None:
    """Return the lead of a sample over another by Welch's t; None if neither varies, which says nothing of noise.

    Args:
      sign: what a mean is multiplied by, so that more is better.
      level: of each end of the interval.
    """
    ours, theirs = best.variance / best.seeds, other.variance / other.seeds
    if not ours + theirs:
        return None
    degrees = (ours + theirs) ** 2 / (ours**2 / best.degrees + theirs**2 / other.degrees)
    effect = sign * (best.mean - other.mean)
    margin = float(stats.t.isf(level, degrees)) * math.sqrt(ours + theirs)
    deviation = math.sqrt(best.variance + other.variance)
    return Lead(effect, effect - margin, effect + margin, min(best.seeds, other.seeds), deviation, level)


def shrunk(variances: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shrink variances towards a common prior, and return them with their degrees of freedom (Smyth 2004, 6.2).

    Other than there, the prior's degrees of freedom are at most a variance's own: they are estimated from few
    configs, and too many of them make intervals too short.

    Args:
      variances: (n,), estimates.
      degrees: (n,), their degrees of freedom.
    """
    positive = variances > 0
    if not positive.any():
        return variances, degrees
    half = degrees[positive] / 2
    logs = np.log(variances[positive]) - special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half).mean()) if len(logs) > 1 else 0.0
    prior_degrees, log_prior = math.inf, float(logs.mean())
    if excess > 0:
        prior_degrees = 2 * _inverse_trigamma(excess)
        log_prior += float(special.digamma(prior_degrees / 2)) - math.log(prior_degrees / 2)
    weight = np.minimum(prior_degrees, degrees)
    return (weight * math.exp(log_prior) + degrees * variances) / (weight + degrees), weight + degrees


def _inverse_trigamma(value: float) -> float:
    found = optimize.root_scalar(
        lambda log: math.log(special.polygamma(1, math.exp(log)) / value), bracket=(-30.0, 30.0)
    )
    return math.exp(found.root)
