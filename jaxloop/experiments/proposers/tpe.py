"""Tree-structured Parzen estimators (Bergstra et al. 2011), as Optuna has them; an extra."""

from collections.abc import Iterator, Sequence
from typing import Any

from jaxloop.errors import SweepError
from jaxloop.experiments.proposers.base import Known
from jaxloop.experiments.space import Config, Space

STARTUP = 32  # configs drawn at random before there is a model


class Tpe:
    def configs(self, space: Space, known: Sequence[Known], incumbent: Config, seed: int) -> Iterator[Config]:
        try:
            import optuna
        except ImportError:
            raise SweepError('loop.proposer: "tpe" needs Optuna: pip install "jaxloop[tpe]"') from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
        distributions: dict[str, Any] = dict.fromkeys(space.axes, distribution)
        sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP, constant_liar=True, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for each in known:
            study.add_trial(
                optuna.trial.create_trial(
                    params=space.fractions(each.config), distributions=distributions, **_outcome(each)
                )
            )
        while True:
            trial = study.ask(distributions)
            yield space.config(trial.params)


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
