"""The lead of a run's best config over each other one, with intervals that hold for all pairs of configs at once.

The best is chosen by looking at all, so that alpha is shared by all pairs (Bonferroni). Few seeds say little of a
config's variance, so it is averaged with what is usual among the run's configs: a moderated variance (Smyth 2004,
Statistical Applications in Genetics and Molecular Biology 3, article 3). Configs differ in variance, and intervals
are Welch's. benchmarks/LOG.md has how often any of them misses.
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
      seeds: the fewest that one of the two has.
      deviation: standard deviation of the difference on one seed.
      level: of the one-sided test.
    """

    effect: float
    low: float
    high: float
    seeds: int
    deviation: float
    level: float


def leads(configs: Sequence[RankedConfig], mode: str) -> list[Lead | None]:
    """Return the lead of the first of ranked configs over each other one; None where one of the two has one seed.

    Args:
      configs: all of a run, each with a finite mean.
      mode: "max" or "min".
    """
    sign, level = 1.0 if mode == "max" else -1.0, ALPHA / max(1, len(configs) * (len(configs) - 1))
    means = [_Mean(float(mean), 0.0, 0.0, 0) for config in configs if (mean := config.mean) is not None]
    several = [at for at, config in enumerate(configs) if config.standard_error is not None]
    counts = np.array([configs[at].finished for at in several], float)
    errors = np.array([configs[at].standard_error for at in several], float)
    variances, degrees = moderated(errors**2 * counts, counts - 1)
    for at, variance, freedom in zip(several, variances.tolist(), degrees.tolist(), strict=True):
        means[at] = _Mean(means[at].value, variance, freedom, configs[at].finished)
    return [_lead(means[0], other, sign, level) for other in means[1:]]


class _Mean(NamedTuple):
    """A config's mean over its seeds, the moderated variance of one seed with its degrees of freedom."""

    value: float
    variance: float
    degrees: float
    seeds: int  # 0 where there are too few for a variance


def _lead(best: _Mean, other: _Mean, sign: float, level: float) -> Lead | None:
    if not (best.seeds and other.seeds):
        return None
    ours, theirs = best.variance / best.seeds, other.variance / other.seeds
    spread = ours**2 / best.degrees + theirs**2 / other.degrees
    degrees = (ours + theirs) ** 2 / spread if spread else math.inf
    effect = sign * (best.value - other.value)
    margin = float(stats.t.isf(level, degrees)) * math.sqrt(ours + theirs)
    deviation = math.sqrt(best.variance + other.variance)
    return Lead(effect, effect - margin, effect + margin, min(best.seeds, other.seeds), deviation, level)


def moderated(variances: np.ndarray, degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variances averaged with what is usual among them, and the degrees of freedom that they then have.

    What is usual weighs as much as so many more degrees of freedom as the variances' spread says, and at most as
    much as a variance's own.

    Args:
      variances: (n,), estimates.
      degrees: (n,), their degrees of freedom.
    """
    positive = variances > 0
    if positive.sum() < 2:
        return variances, degrees
    half = degrees[positive] / 2
    logs = np.log(variances[positive]) - special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half).mean())
    prior, usual = math.inf, float(logs.mean())
    if excess > 0:
        prior = 2 * _inverse_trigamma(excess)
        usual += float(special.digamma(prior / 2)) - math.log(prior / 2)
    weight = np.minimum(prior, degrees)
    return (weight * math.exp(usual) + degrees * variances) / (weight + degrees), weight + degrees


def _inverse_trigamma(value: float) -> float:
    found = optimize.root_scalar(
        lambda log: math.log(special.polygamma(1, math.exp(log)) / value), bracket=(-30.0, 30.0)
    )
    return math.exp(found.root)
