"""Evolution: small random changes of the best configs that are known, the incumbent first among them."""

import random
from collections.abc import Iterator, Sequence

from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space

PARENTS = 4  # beside the incumbent
SCALE = 0.15  # standard deviation of a change, as a share of an axis
CHANGED = 2  # hparams that a child changes, on average


class Evolution:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        draws = random.Random(seed)
        completed = [each for each in known if each.value is not None and each.stopped_at is None]
        best = sorted(completed, key=lambda each: -(each.value or 0.0))[:PARENTS]
        middle = {name: space.at(name, 0.5) for name in space.axes}  # of what a parent has no part in
        parents = [middle | space.values(config) for config in (incumbent, *(each.config for each in best))]
        while True:
            child = dict(draws.choice([parents[0], *parents]))
            names = [name for name in space.axes if draws.random() < CHANGED / len(space.axes)]
            for name in names or [draws.choice(list(space.axes))]:
                step = space.fraction(name, child[name]) + draws.gauss(0, SCALE)
                child[name] = space.at(name, draws.random() if space.is_listed(name) else _reflected(step))
            yield space.config_of(child)


def _reflected(fraction: float) -> float:
    """Return a fraction beyond an end of its axis as far on this side of it."""
    folded = abs(fraction) % 2
    return 2 - folded if folded > 1 else folded
