"""The lead of a config over another of the same run, on the seeds that both have."""

from typing import Any

from jaxloop.experiments.verdict import Criteria, Verdict, judge
from jaxloop.storage.ranking import RankedConfig
from jaxloop.storage.records import Member, Status
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES

ALPHA = 0.05  # chance that the best of a run seems better than one that is as good, over all others together


def lead(
    store: Store, members: list[Member], best: RankedConfig, other: RankedConfig, others: int
) -> Verdict | None:
    """Judge the best config of a run against another, paired by seed; None for fewer than two shared seeds.

    Args:
      members: the run's, by number.
      others: how many the best was chosen over: they share alpha (Bonferroni).
    """
    trains = store.trains
    values = [_by_replicate(store.metric, members, config, trains) for config in (best, other)]
    shared = sorted(values[0].keys() & values[1].keys(), key=str)
    if len(shared) < 2:
        return None
    pairs = [[side[one] for one in shared] for side in values]
    return judge(pairs[0], pairs[1], Criteria(store.mode), level=ALPHA / 2 / others, is_last=True)


def _by_replicate(
    metric: str, members: list[Member], config: RankedConfig, trains: bool
) -> dict[tuple[Any, ...], float]:
    """Return a config's values by seed and fold; of a run that trains, those so far."""
    return {
        tuple(member.hparams.get(name) for name in REPLICATES): member.metrics[metric]
        for member in (members[number] for number in config.members)
        if metric in member.metrics and (trains or member.status == Status.FINISHED)
    }
