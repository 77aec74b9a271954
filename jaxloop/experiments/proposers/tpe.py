"""Tree-structured Parzen estimators (Bergstra et al. 2011), as Optuna has them; an extra."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from jaxloop.errors import SweepError
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.proposers.random import Random
from jaxloop.experiments.space import Config, Space

STARTUP = 32  # configs drawn at random before there is a model
SHARE = 0.5  # of what is known, that the model of one proposal is told


class Tpe:
    """Each proposal is the best by a model of a random half of what is known, one axis at a time.

    With one model of everything, half of all searches stayed with the value of a listed axis that did well first,
    such as a depth of 1 (benchmarks/LOG.md). Models of halves disagree where little is known, and try others too.
    """

    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        try:
            import optuna
        except ImportError:
            raise SweepError('loop.proposer: "tpe" needs Optuna: pip install "jaxloop[tpe]"') from None
        if len(known) < STARTUP:
            yield from Random().configs(space, known, incumbent, seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
        axes: dict[str, Any] = dict.fromkeys(space.axes, distribution)
        trials = [
            optuna.trial.create_trial(params=space.fractions(each.config), distributions=axes, **_outcome(each))
            for each in known
        ]
        proposed: list[Any] = []  # which, as far as is known, are bad: others should differ from them
        draws = random.Random(seed)
        while True:
            sampler = optuna.samplers.TPESampler(n_startup_trials=1, seed=draws.getrandbits(32))
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.add_trials([trial for trial in trials if draws.random() < SHARE] + proposed)
            params = study.ask(axes).params
            pruned = optuna.trial.TrialState.PRUNED
            proposed.append(optuna.trial.create_trial(params=params, distributions=axes, state=pruned))
            yield space.config(params)


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
