"""Asynchronous successive halving (Li et al. 2020): a config is promoted once it is in the best third so far.

No config waits for its rung to fill, so that fewer slots stay idle; which ones are promoted then depends on the
order in which they arrive, and so on the run's capacity.
"""

from jaxloop.training.schedulers.rungs import REDUCTION, Contest, Standing


def asha(contest: Contest) -> Standing:
    """Decide among the configs that have reached a rung; those never promoted stop when all others have ended."""
    waits_at: dict[int, int] = {}
    for rung in range(len(contest.rungs)):
        reached = [config for config in contest.configs if contest.has_reached(rung, config)]
        contest.promoted |= {(rung, config) for config in contest.best(rung, reached, len(reached) // REDUCTION)}
        for config, members in contest.configs.items():
            if (rung, config) not in contest.promoted:
                waits_at |= {number: rung for number in members if (rung, number) in contest.values}
    return Standing(waits_at, set())
