"""Asynchronous successive halving (Li et al. 2020): who is among the best third so far is promoted at once.

Nobody waits for a rung to fill, so that fewer slots stay idle; who is promoted then depends on the order in which
configs arrive, and so on the run's capacity.
"""

from jaxloop.training.schedulers.rungs import ETA, Contest, RungScheduler


class Asha(RungScheduler):
    """Decides among the configs that have reached a rung; those never promoted stop when all others have ended."""

    def standing(self, contest: Contest) -> tuple[dict[int, int], set[int]]:
        waits_at: dict[int, int] = {}
        for rung in range(len(contest.rungs)):
            reached = [config for config in contest.configs if contest.has_reached(rung, config)]
            contest.promoted |= {(rung, config) for config in contest.best(rung, reached, len(reached) // ETA)}
            for config, members in contest.configs.items():
                if (rung, config) not in contest.promoted:
                    waits_at |= {number: rung for number in members if (rung, number) in contest.values}
        return waits_at, set()
