"""Grid search: all combinations of the axes' points, in order."""

import itertools
from collections.abc import Iterator, Sequence

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space


class Grid:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        points = [space.points(name) for name in space.axes]
        yield from (space.config_of(dict(zip(space.axes, row, strict=True))) for row in itertools.product(*points))
