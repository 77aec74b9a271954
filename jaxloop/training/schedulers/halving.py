"""Successive halving (Jamieson and Talwalkar 2016): all configs take a few steps, the best third more, ..."""

import math

from jaxloop.training.schedulers.rungs import ETA, Contest, RungScheduler


class Halving(RungScheduler):
    """Decides a rung once all of its configs are there."""

    def standing(self, contest: Contest) -> tuple[dict[int, int], set[int]]:
        losers: set[int] = set()
        promoted = list(contest.configs)
        for rung in range(len(contest.rungs)):
            if not all(contest.has_reached(rung, config) for config in promoted):
                members = [number for config in promoted for number in contest.configs[config]]
                return {number: rung for number in members if (rung, number) in contest.values}, losers
            best = set(contest.best(rung, promoted, math.ceil(len(promoted) / ETA)))
            losers |= {number for config in promoted if config not in best for number in contest.configs[config]}
            promoted = [config for config in promoted if config in best]
        return {}, losers
