"""The loop's protocol as a coroutine: what it asks for and what it records, without running anything.

It yields requests and gets their answers: `Ask` gets proposals, `Train` what was measured, `Note` nothing.
All that it does follows from those answers, so that a loop which was killed is brought back by giving the recorded
ones again.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxloop.experiments.proposers.base import Known, Proposal
from jaxloop.experiments.requests import (
    Ask,
    Clock,
    Hear,
    Hypothesis,
    LoopPlan,
    Note,
    Request,
    Requests,
    Train,
    Trained,
)
from jaxloop.experiments.screening import Screened, screened
from jaxloop.experiments.space import Config
from jaxloop.experiments.spending import power, resolved, seeds_needed
from jaxloop.experiments.verdict import Outcome, Verdict, judge

# Disjoint ranges of seeds: screening from 0 on, each round's confirmation, each try, the audit.
CONFIRMATION, TRIED, OF_A_ROUND, AUDIT = 1_000_000, 2_000_000_000, 10_000, 4_000_000_000


@dataclass
class _Loop:
    plan: LoopPlan
    incumbent: Config
    round: int = 0  # the last that has ended
    known: list[Known] = field(default_factory=list)
    recycled: float = 0.0
    experiments: int = 0
    trainings: int = 0
    member_steps: int = 0
    unused_alpha: float = 0.0  # of rounds that had nothing to try
    tries: int = 0
    tries_alpha: float = 0.0  # for all tries together
    tries_alpha_left: float = 0.0


def research(plan: LoopPlan) -> Requests:
    """Measure the noise floor, then propose, screen, confirm and judge in rounds, then audit the winner."""
    loop = _Loop(plan, plan.baseline)
    yield from _floor(loop)
    for number in range(1, plan.rounds + 1):
        why, proposed = (yield from _spent(loop)), []
        if not why:
            proposed = yield Ask(number, loop.known, loop.incumbent, _configs(loop))
            why = "" if proposed else "no proposer gave a config that has not been tried"
        if why:
            if plan.spending.control == "loop":
                loop.unused_alpha = sum(plan.spending.of_round(later) for later in range(number, plan.rounds + 1))
            yield Note({"kind": "end", "round": number, "why": why})
            break
        yield from _confirmed(loop, number, proposed, (yield from _screened(loop, number, proposed)))
    if plan.rounds:
        yield from _audit(loop)
    loop.tries_alpha = loop.tries_alpha_left = plan.alpha_of_tries + loop.recycled + loop.unused_alpha
    while (hypothesis := (yield Hear())) is not None:
        yield from _tried(loop, hypothesis)


def _spent(loop: _Loop) -> Generator[Request, Any, str]:
    """Return which budget is spent, if one is, in words."""
    budget = loop.plan.budget
    if budget.experiments is not None and loop.experiments >= budget.experiments:
        return f"the budget of {budget.experiments} experiments is spent"
    if budget.member_steps is not None and loop.member_steps >= budget.member_steps:
        return f"the budget of {budget.member_steps} member-steps is spent"
    if budget.seconds is not None:
        seconds: float = yield Clock()
        if seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} seconds is spent"
    return ""


def _configs(loop: _Loop) -> int:
    """Return how many proposals the next round may have."""
    most = loop.plan.budget.experiments
    return loop.plan.configs if most is None else min(loop.plan.configs, most - loop.experiments)


def _trained(loop: _Loop, request: Train) -> Generator[Request, Any, np.ndarray]:
    """Return the (configs, seeds) values of a request's trainings, and count them."""
    trained: Trained = yield request
    loop.trainings += trained.values.size
    loop.member_steps += int(trained.steps.sum())
    return trained.values


def _floor(loop: _Loop) -> Requests:
    """Train the baseline on several seeds: their spread is noise, and bounds what the loop can see."""
    plan = loop.plan
    values = yield from _trained(loop, Train("floor", 0, [plan.baseline], list(range(plan.floor_seeds))))
    mean, finite = _finite_mean(values), values[np.isfinite(values)]
    deviation = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
    smallest, looks = plan.criteria.smallest_effect, plan.spending.looks
    level = plan.spending.level(plan.spending.of_round(1), len(looks) - 1, plan.promote if plan.rounds else 1)
    in_deviations = smallest / (deviation * math.sqrt(2)) if smallest and deviation else math.nan
    yield Note(
        {
            "kind": "floor",
            "seeds": plan.floor_seeds,
            "finite": len(finite),
            "mean": mean,
            "sd": deviation,
            # for independent seeds, the worst case: paired ones need fewer
            "seeds_needed": seeds_needed(in_deviations, level) if in_deviations > 0 else None,
            "resolves": resolved(looks[-1], level) * deviation * math.sqrt(2),
            "power_at_last_look": power(in_deviations, looks[-1], level) if in_deviations > 0 else None,
        }
    )


def _screened(loop: _Loop, number: int, proposed: Sequence[Proposal]) -> Generator[Request, Any, list[Screened]]:
    """Screen a round's proposals; they are known from then on."""
    found = yield from screened(loop.plan, number, proposed)
    loop.trainings += sum(each.seeds for each in found)
    loop.member_steps += sum(each.steps for each in found)
    loop.known += [
        Known(proposal.config, each.mean if math.isfinite(each.mean) else None, each.stopped_at)
        for proposal, each in zip(proposed, found, strict=True)
    ]
    return found


def _confirmed(loop: _Loop, number: int, proposed: Sequence[Proposal], found: Sequence[Screened]) -> Requests:
    """Judge the best proposals beside the incumbent, on fresh paired seeds; the best success replaces it."""
    plan, spending = loop.plan, loop.plan.spending
    ranking = sorted(range(len(proposed)), key=lambda at: found[at].rank(), reverse=True)
    promoted = [at for at in ranking[: plan.promote] if math.isfinite(found[at].mean)]
    of_round = spending.of_round(number, loop.recycled)
    challengers = [proposed[at].config for at in promoted]
    verdicts, seeds = yield from _judged(loop, "confirm", number, challengers, of_round)
    incumbent, successes = loop.incumbent, []
    for at, proposal in enumerate(proposed):
        verdict = verdicts[promoted.index(at)] if at in promoted else None
        if verdict and verdict.outcome == Outcome.SUCCESS:
            successes.append((verdict.effect, proposal.config))
        record = _experiment(loop, number, proposal, incumbent, verdict, seeds)
        yield Note({**record, **found[at].json(plan.criteria.sign)})
    loop.recycled = spending.recycled(of_round, len(successes), len(promoted))
    if successes:
        loop.incumbent = max(successes, key=lambda success: success[0])[1]
    loop.round = number
    yield Note(
        {
            "kind": "round",
            "round": number,
            "alpha": of_round,
            "recycled": loop.recycled,
            "alpha_left": _alpha_left(loop, number),
            "experiments": loop.experiments,
            "trainings": loop.trainings,
            "member_steps": loop.member_steps,
            "incumbent": loop.incumbent,
        }
    )


def _alpha_left(loop: _Loop, number: int) -> float:
    """Return the alpha that later rounds and tries may spend; with a control by round, that of tries alone."""
    plan, spending = loop.plan, loop.plan.spending
    if spending.control == "round":
        return plan.alpha_of_tries
    later = sum(spending.of_round(each) for each in range(number + 1, plan.rounds + 1))
    return later + loop.recycled + plan.alpha_of_tries


def _experiment(
    loop: _Loop, number: int, proposal: Proposal, incumbent: Config, verdict: Verdict | None, seeds: Sequence[int]
) -> dict[str, Any]:
    """Return what the ledger says of an experiment, and count it."""
    loop.experiments += 1
    return {
        "kind": "experiment",
        "id": loop.experiments,
        "round": number,
        **proposal.json(),
        "incumbent": incumbent,
        "changed": {name: value for name, value in proposal.config.items() if value != incumbent.get(name)},
        "verdict": str(verdict.outcome) if verdict else "not promoted",
        **(_verdict_fields(verdict, seeds) if verdict else {}),
    }


def _verdict_fields(verdict: Verdict, seeds: Sequence[int]) -> dict[str, Any]:
    names = ("effect", "low", "high", "p", "level", "n", "rho", "not_finite")
    return {**{name: getattr(verdict, name) for name in names}, "seeds": list(seeds[: verdict.n])}


def _judged(
    loop: _Loop, stage: str, number: int, challengers: Sequence[Config], of_round: float, task: str = ""
) -> Generator[Request, Any, tuple[list[Verdict], list[int]]]:
    """Train challengers and incumbent on the same seeds, look by look, until each comparison is decided.

    Args:
      of_round: alpha of all comparisons together.
      task: that trains the challengers; "" for the loop's own.
    """
    spending, first = loop.plan.spending, (TRIED if stage == "try" else CONFIRMATION) + OF_A_ROUND * number
    verdicts: dict[int, Verdict] = {}
    values = np.zeros((1 + len(challengers), 0))
    for look, n in enumerate(spending.looks):
        is_open = [at for at in range(len(challengers)) if at not in verdicts or verdicts[at].outcome is None]
        if not is_open:
            break
        seeds = list(range(first + values.shape[1], first + n))
        configs = [loop.incumbent, *(challengers[at] for at in is_open)]
        if task:
            ours = yield from _trained(loop, Train(stage, number, configs[:1], seeds))
            theirs = yield from _trained(loop, Train(stage, number, configs[1:], seeds, task=task))
            measured = np.concatenate([ours, theirs])
        else:
            measured = yield from _trained(loop, Train(stage, number, configs, seeds))
        more = np.full((1 + len(challengers), len(seeds)), np.nan)
        more[[0, *(1 + at for at in is_open)]] = measured
        values = np.concatenate([values, more], 1)
        for at in is_open:
            level = spending.level(of_round, look, len(challengers))
            is_last = look == len(spending.looks) - 1
            verdicts[at] = judge(values[1 + at], values[0], loop.plan.criteria, level=level, is_last=is_last)
    return [verdicts[at] for at in range(len(challengers))], list(range(first, first + values.shape[1]))


def _tried(loop: _Loop, hypothesis: Hypothesis) -> Requests:
    """Judge one config beside the incumbent, at a share of the alpha that is left for tries."""
    loop.tries += 1
    number, incumbent = loop.tries, loop.incumbent
    share = 1 / hypothesis.planned if hypothesis.planned else 1 / (number * (number + 1))
    alpha = min(loop.tries_alpha * share, loop.tries_alpha_left)
    config = {**incumbent, **hypothesis.changed}
    (verdict,), seeds = yield from _judged(loop, "try", number, [config], alpha, hypothesis.task)
    if verdict.outcome == Outcome.SUCCESS:
        loop.incumbent = incumbent if hypothesis.task else config  # code cannot become a config
    else:
        loop.tries_alpha_left -= alpha
        if loop.tries_alpha_left < 1e-9 * loop.tries_alpha:  # rounding
            loop.tries_alpha_left = 0.0
    proposal = Proposal(config, "try", hypothesis.because, hypothesis.expected)
    record = _experiment(loop, number, proposal, incumbent, verdict, seeds)
    if hypothesis.task:
        record |= {"task": hypothesis.task, "changed": {**record["changed"], "task": hypothesis.task}}
    yield Note({**record, "alpha": alpha, "alpha_left": loop.tries_alpha_left, "trainings": loop.trainings})


def _audit(loop: _Loop) -> Requests:
    """Compare the last incumbent with the baseline, once, on fresh seeds and the test split: the headline."""
    plan = loop.plan
    if loop.incumbent == plan.baseline:
        yield Note({"kind": "audit", "verdict": "no success to audit", "incumbent": loop.incumbent})
        return
    seeds = list(range(AUDIT, AUDIT + plan.audit_seeds))
    configs = [plan.baseline, loop.incumbent]
    values = yield from _trained(loop, Train("audit", loop.round, configs, seeds, "test"))
    verdict = judge(values[1], values[0], plan.criteria, level=plan.spending.alpha, is_last=True)
    yield Note(
        {
            "kind": "audit",
            "verdict": str(verdict.outcome),
            "incumbent": loop.incumbent,
            "baseline_mean": _finite_mean(values[0]),
            "incumbent_mean": _finite_mean(values[1]),
            "trainings": loop.trainings,
            **_verdict_fields(verdict, seeds),
        }
    )


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan
