"""Sobol's sequence: points that fill the space evenly, continued from round to round."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import qmc

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space

BLOCK = 64  # points drawn at a time: a power of two keeps them balanced


class Sobol:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        sequence = qmc.Sobol(len(space.axes), rng=np.random.default_rng(0))
        if known:
            sequence.fast_forward(len(known))
        while True:
            for row in sequence.random(BLOCK).tolist():
                yield space.config(dict(zip(space.axes, row, strict=True)))
