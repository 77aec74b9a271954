"""Which hparams decide whether a config is among the best: PED-ANOVA (Watanabe, Bansal and Hutter 2023).

The importance of an hparam is Pearson's divergence between its distribution among the best configs and among all.
The importance of a pair is the divergence of their joint distribution beyond what the two explain separately.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

BEST = 0.1  # share of the configs that count as the best
FEWEST = 20  # configs from which densities can be told at all
POINTS = 40  # at which the density of a continuous hparam is computed
DRAWS = 1000  # of configs at random in place of the best, for what chance alone gives
CHANCE = 0.05  # that any hparam or pair exceeds it where none matters


class Importance(NamedTuple):
    """How much one hparam matters, or a pair beyond its two.

    share: of all hparams and pairs together.
    exceeds_chance: whether it is more than configs chosen at random would give: in 95% of draws, no hparam does.
    """

    hparams: tuple[str, ...]
    share: float
    exceeds_chance: bool


def importances(
    configs: Sequence[Mapping[str, float]], values: Sequence[float], levels: Mapping[str, int]
) -> list[Importance]:
    """Return hparams and pairs of them by importance; nothing for fewer than `FEWEST` configs.

    Args:
      configs: where each lies on its axes, from 0 to 1.
      values: of the metric, more being better; those that are not finite are the worst.
      levels: of the axes with separate values, how many they have.
    """
    if len(configs) < FEWEST:
        return []
    ranking = np.argsort([-value if math.isfinite(value) else math.inf for value in values], kind="stable")
    count = max(2, math.ceil(BEST * len(configs)))
    chosen = _draws(len(configs), count)
    chosen[0, ranking[:count]] = True
    chosen[0, ranking[count:]] = False
    names = list(configs[0])
    kernels = {name: _kernel(np.array([config[name] for config in configs]), levels.get(name)) for name in names}
    single = {name: _divergences(kernels[name], chosen) for name in names}
    found: dict[tuple[str, ...], np.ndarray] = {(name,): single[name] for name in names}
    for one, other in itertools.combinations(names, 2):
        joint = (kernels[one][:, :, None] * kernels[other][:, None, :]).reshape(len(configs), -1)
        # of independent hparams, 1 + divergence is a product
        found[one, other] = _divergences(joint, chosen) + 1 - (1 + single[one]) * (1 + single[other])
    threshold = 1 - CHANCE / len(found)  # Bonferroni
    total = sum(max(0.0, each[0]) for each in found.values()) or 1.0
    ranked = [
        Importance(hparams, float(max(0.0, each[0]) / total), bool(each[0] > np.quantile(each[1:], threshold)))
        for hparams, each in found.items()
    ]
    return sorted(ranked, key=lambda each: -each.share)


def _draws(configs: int, count: int) -> np.ndarray:
    """(1 + `DRAWS`, configs) bool: `count` configs chosen at random, in each row."""
    order = np.random.default_rng(0).random((1 + DRAWS, configs)).argsort(1)
    return order < count


def _kernel(places: np.ndarray, levels: int | None) -> np.ndarray:
    """(N, points) densities around each config: Gaussian, of the width that Scott's rule (1992) gives."""
    if levels is not None:
        return np.eye(levels)[np.minimum((places * levels).astype(int), levels - 1)]
    width = max(1 / POINTS, 1.06 * float(places.std()) * len(places) ** -0.2)
    grid = (np.arange(POINTS) + 0.5) / POINTS
    density = np.exp(-0.5 * ((grid - places[:, None]) / width) ** 2)
    return density / density.sum(1, keepdims=True)


def _divergences(kernel: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(draws,) divergences of the chosen configs' density from that of all; one config more may lie anywhere."""
    anywhere = 1 / kernel.shape[1]
    of_all = (kernel.sum(0) + anywhere) / (len(kernel) + 1)
    of_chosen = (chosen @ kernel + anywhere) / (chosen.sum(1, keepdims=True) + 1)
    return (of_chosen / of_all - 1) ** 2 @ of_all
