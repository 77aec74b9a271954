"""Successive halving (Jamieson and Talwalkar 2016): the best third of the configs goes on at each rung."""

from jaxloop.training.schedulers.rungs import Contest, Standing


def halving(contest: Contest) -> Standing:
    """Decide a rung once all of its configs have reached it."""
    losers: set[int] = set()
    promoted = list(contest.configs)
    for rung in range(len(contest.rungs)):
        if not all(contest.has_reached(rung, config) for config in promoted):
            members = [number for config in promoted for number in contest.configs[config]]
            return Standing({number: rung for number in members if (rung, number) in contest.values}, losers)
        best = set(contest.best(rung, promoted, contest.places(len(promoted))))
        losers |= {number for config in promoted if config not in best for number in contest.configs[config]}
        promoted = [config for config in promoted if config in best]
    return Standing({}, losers)
