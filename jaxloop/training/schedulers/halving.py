"""Successive halving (Jamieson and Talwalkar 2016): at each rung the best configs go on, one in `reduction`."""

from jaxloop.training.schedulers.rungs import Contest, Standing, promoted_count


def halving(contest: Contest) -> Standing:
    """Decide a rung once all of its configs have reached it."""
    losers: set[int] = set()
    promoted = list(contest.configs)
    for rung in range(len(contest.rungs)):
        if not all(contest.has_reached(rung, config) for config in promoted):
            members = [number for config in promoted for number in contest.configs[config]]
            return Standing({number: rung for number in members if (rung, number) in contest.values}, losers)
        count = promoted_count(len(promoted), contest.reduction, contest.min_promoted)
        best = set(contest.best(rung, promoted, count))
        losers |= {number for config in promoted if config not in best for number in contest.configs[config]}
        promoted = [config for config in promoted if config in best]
    return Standing({}, losers)
