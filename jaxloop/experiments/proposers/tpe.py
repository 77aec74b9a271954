"""Tree-structured Parzen estimators (Bergstra et al. 2011), as Optuna has them; an extra.

Some configs are drawn at random, an idea from BOHB (Falkner et al. 2018): without them a search may stay for good
where its first good configs were. How greedy it is was chosen by simulation (benchmarks/LOG.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxloop.errors import SweepError
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space
from jaxloop.sweep.axes import listed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

STARTUP = 32  # configs before there is a model
RANDOM_SHARE = 0.25  # of all proposals
CANDIDATES = 4  # sampled from the model of good configs; the one with the best density ratio is proposed


class Tpe:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        try:
            import optuna
        except ImportError:
            raise SweepError('loop.proposer: "tpe" needs Optuna: pip install "jaxloop[tpe]"') from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = {name: _distribution(space, name) for name in space.axes}
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, n_ei_candidates=CANDIDATES, multivariate=True, constant_liar=True, seed=seed
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for each in known:
            places = _places(space, each.config)
            present = {name: distributions[name] for name in places}
            study.add_trial(optuna.trial.create_trial(params=places, distributions=present, **_outcome(each)))
        draws = random.Random(f"tpe {seed}")  # not those of the proposer "random"
        while True:
            if draws.random() < RANDOM_SHARE:
                yield space.config({name: draws.random() for name in space.axes})
            else:
                places = study.ask(distributions).params
                yield space.config_of({name: _value(space, name, place) for name, place in places.items()})


def _distribution(space: Space, name: str) -> BaseDistribution:
    """Return Optuna's distribution for a dimension: categorical for listed values, else numeric.

    Separate values are numbered. As fractions of the axis they would have densities between them, where nothing is
    ever tried, and ratios of densities are largest there.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space.is_continuous(name):
        return FloatDistribution(0.0, 1.0)
    count = len(listed(space.axes[name]))
    return CategoricalDistribution(range(count)) if space.is_listed(name) else IntDistribution(0, count - 1)


def _places(space: Space, config: Config) -> dict[str, float | int]:
    """Return a config's coordinates, without dimensions that it lacks and values, of a try, that no axis has."""
    found: dict[str, float | int] = {}
    for name, value in space.values(config).items():
        if space.is_continuous(name):
            found[name] = space.fraction(name, value)
        elif value in (separate := listed(space.axes[name])):
            found[name] = separate.index(value)
    return found


def _value(space: Space, name: str, place: float | int) -> Any:
    """Return the value at a coordinate."""
    return space.at(name, place) if space.is_continuous(name) else space.value_at(name, int(place))


def _outcome(known: Known) -> dict[str, Any]:
    """Return the state and value of a trial.

    Pruned ones rank below complete ones, the earlier the lower. Those without a value, which diverged or have yet
    to be tried, rank lowest: from a failed trial the sampler would learn nothing.
    """
    from optuna.trial import TrialState

    if known.value is None:
        return {"state": TrialState.PRUNED}
    if known.stopped_at is None:
        return {"state": TrialState.COMPLETE, "value": known.value}
    return {"state": TrialState.PRUNED, "intermediate_values": {known.stopped_at: known.value}}
