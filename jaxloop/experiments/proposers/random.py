"""Random search: uniform over the axes, in `log` or `linear` space (Bergstra and Bengio 2012)."""

import random
from collections.abc import Iterator, Sequence

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space


class Random:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        draws = random.Random(seed)
        while True:
            yield space.config({name: draws.random() for name in space.axes})
