"""Tree-structured Parzen estimators (Bergstra et al. 2011), as Optuna has them; an extra.

As in BOHB (Falkner et al. 2018), some configs are drawn at random: without them a search may stay for good where
its first good configs were. How greedy it is was chosen by simulation (benchmarks/LOG.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxloop.errors import SweepError
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.proposers.random import Random
from jaxloop.experiments.space import CASE, Config, Space
from jaxloop.sweep.axes import listed

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

STARTUP = 32  # configs drawn at random before there is a model
RANDOM_EVERY = 4  # of those after them, one in so many is
CANDIDATES = 4  # drawn like the good ones; the one least like the others is proposed


class Tpe:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        try:
            import optuna
        except ImportError:
            raise SweepError('loop.proposer: "tpe" needs Optuna: pip install "jaxloop[tpe]"') from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = {name: _distribution(space, name) for name in space.axes}
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, n_ei_candidates=CANDIDATES, constant_liar=True, seed=seed
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for each in known:
            places = _places(space, each.config)
            of_them = {name: distributions[name] for name in places}
            study.add_trial(optuna.trial.create_trial(params=places, distributions=of_them, **_outcome(each)))
        at_random = Random().configs(space, known, incumbent, seed)
        for number in itertools.count():
            if number % RANDOM_EVERY == RANDOM_EVERY - 1:
                yield next(at_random)
                continue
            trial = study.ask()
            values = {CASE: _suggested(trial, space, CASE)} if CASE in space.axes else {}
            names = space.dimensions(values.get(CASE))
            yield space.config_of(values | {name: _suggested(trial, space, name) for name in names})


def _distribution(space: Space, name: str) -> BaseDistribution:
    """Return how a dimension is modeled: listed values each by itself, all others by their neighbours as well.

    Separate values are numbered: densities over fractions of an axis would differ most between two values, where
    nothing was ever tried.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space.is_continuous(name):
        return FloatDistribution(0.0, 1.0)
    count = len(listed(space.axes[name]))
    return CategoricalDistribution(range(count)) if space.is_listed(name) else IntDistribution(0, count - 1)


def _places(space: Space, config: Config) -> dict[str, float | int]:
    """Return where a config is along each dimension that it has a part in; a try may have values of no axis."""
    found: dict[str, float | int] = {}
    for name, value in space.values(config).items():
        if space.is_continuous(name):
            found[name] = space.fraction(name, value)
        elif value in (separate := listed(space.axes[name])):
            found[name] = separate.index(value)
    return found


def _suggested(trial: Trial, space: Space, name: str) -> Any:
    """Return the value that the sampler suggests along a dimension."""
    if space.is_continuous(name):
        return space.at(name, trial.suggest_float(name, 0.0, 1.0))
    count = len(listed(space.axes[name]))
    if space.is_listed(name):
        return space.point(name, trial.suggest_categorical(name, range(count)))
    return space.point(name, trial.suggest_int(name, 0, count - 1))


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
