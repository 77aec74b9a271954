"""Grid search: all combinations of the axes' points, in order."""

import itertools
from collections.abc import Iterator, Sequence

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import CASE, Config, Space


class Grid:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        for case in space.fixed or (None,):
            names = space.dimensions(case)
            for row in itertools.product(*(space.points(name) for name in names)):
                yield space.config_of({CASE: case, **dict(zip(names, row, strict=True))})
