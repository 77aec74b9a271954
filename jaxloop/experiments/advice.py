"""What to try next: what a run's results say of its axes, and a loop's ledger of its hypotheses."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from jaxloop.experiments import space
from jaxloop.experiments.finding import Finding
from jaxloop.experiments.importance import FEWEST, Importance, importances
from jaxloop.experiments.lead import is_clear, leads
from jaxloop.experiments.more_seeds import noise_findings
from jaxloop.experiments.space import CASE, Config, Space
from jaxloop.experiments.spending import seeds_needed
from jaxloop.experiments.verdict import Outcome
from jaxloop.formatting import counted
from jaxloop.storage import ranking
from jaxloop.storage.ledger import incumbent
from jaxloop.storage.records import Status
from jaxloop.storage.store import Store
from jaxloop.sweep.sweep import Sweep

EDGE = 0.02  # of an axis: a config so near to an end lies at it
GAP = 0.25  # of an axis: a wider part without a config is untested
SHOWN = 5  # undecided experiments, axes


def advice(sweep: Sweep, store: Store) -> list[Finding]:
    """Return what a run's results suggest, the axes first.

    Args:
      sweep: the run's own, with the members that it has.
    """
    searched, ledger = space.of(sweep), store.ledger()
    if sweep.document.loop and not any(record["kind"] == "experiment" for record in ledger):
        return [Finding("waiting", _without_experiments(store.rounds, ledger))]
    sign = 1.0 if store.mode == "max" else -1.0
    tried = _screened(ledger, sign) if sweep.document.loop else _swept(store, searched, sign)
    found = [*_diverged(sweep, tried), *_importance(searched, tried), *_dead(ledger)]
    ranked = [] if sweep.document.loop else ranking.with_finite_mean(ranking.ranked(store, so_far=store.trains))
    over_others = leads(ranked, store.mode) if ranked else []
    if tried and (best := _best(ledger, tried)):
        alike = [
            searched.config_of(searched.values(config.hparams))
            for config, lead in zip(ranked[1:], over_others, strict=True)
            if not is_clear(lead)
        ]
        found += _boundaries(sweep, searched, best, alike)
    tries = [
        record["config"] for record in ledger if record["kind"] == "experiment" and record["proposer"] == "try"
    ]
    configs = [*(config for config, _ in tried), *tries]
    found += _untested(searched, configs, configs if sweep.document.loop else _survivors(store, searched))
    if sweep.document.loop:
        found += [*_undecided(ledger), *_plateau(ledger)]
    else:
        found += noise_findings(sweep, store, ranked, over_others)
    return found


def _without_experiments(rounds: int | None, ledger: Sequence[Mapping[str, Any]]) -> str:
    """Say why a loop has recorded no experiment."""
    if rounds == 0:
        return "the loop has no rounds: `jaxloop try` tests a config"
    if any(record["kind"] in ("end", "audit") for record in ledger):
        return "the loop has ended without an experiment"
    return "no experiment has been recorded yet: the first round has not ended"


def _screened(ledger: Sequence[Mapping[str, Any]], sign: float) -> list[tuple[Config, float]]:
    """Return the configs of a loop and what screening saw of them, more being better; stopped ones are worst."""
    experiments = [record for record in ledger if record["kind"] == "experiment" and "screening_mean" in record]
    return [
        (record["config"], -math.inf if "stopped_at" in record else sign * record["screening_mean"])
        for record in experiments
    ]


def _swept(store: Store, searched: Space, sign: float) -> list[tuple[Config, float]]:
    """Return a sweep's configs that have begun, and their means, more being better; diverged ones are worst."""
    waiting = {member.number for member in store.members() if member.status == Status.WAITING}
    return [
        (
            searched.config_of(searched.values(config.hparams)),
            -math.inf if config.mean is None else sign * config.mean,
        )
        for config in ranking.ranked(store, so_far=store.trains, every=True)
        if not waiting.issuperset(config.members)
    ]


def _best(ledger: Sequence[Mapping[str, Any]], tried: Sequence[tuple[Config, float]]) -> Config | None:
    """Return a loop's incumbent, or a sweep's best config."""
    if now := incumbent(ledger):
        return dict(now)
    config, value = tried[0] if not any(record["kind"] == "floor" for record in ledger) else max(tried, key=_value)
    return config if math.isfinite(value) else None


def importance(sweep: Sweep, store: Store) -> list[Importance]:
    """Return how much each hparam, and each pair, sets a run's best configs apart; nothing for too few configs."""
    searched, sign = space.of(sweep), 1.0 if store.mode == "max" else -1.0
    is_loop = bool(sweep.document.loop)
    return _importances(
        searched,
        _screened(store.ledger(), sign) if is_loop else _swept(store, searched, sign),
    )


def _importances(searched: Space, tried: Sequence[tuple[Config, float]]) -> list[Importance]:
    shared = [name for name in searched.axes if name == CASE or name in searched.dimensions(None)]
    levels = {name: len(searched.points(name)) for name in shared if not searched.is_continuous(name)}
    places = [{name: searched.fractions(config)[name] for name in shared} for config, _ in tried]
    return importances(places, [value for _, value in tried], levels)


def _value(tried: tuple[Config, float]) -> float:
    return tried[1]


def _diverged(sweep: Sweep, tried: Sequence[tuple[Config, float]]) -> Iterator[Finding]:
    """Say what helps most often where no config of a sweep has a finite result."""
    if sweep.document.loop or not tried or any(math.isfinite(value) for _, value in tried):
        return
    rates = [member["learning_rate"] for member in sweep.members if "learning_rate" in member]
    helps = f"learning rates below {min(rates):.4g}" if rates else "smaller updates"
    says = f"all {len(tried)} configs diverged: try {helps}, clipping or warm-up"
    yield Finding("diverged", says, facts={"configs": len(tried)})


def _importance(searched: Space, tried: Sequence[tuple[Config, float]]) -> Iterator[Finding]:
    if len(tried) < FEWEST:
        have = counted(len(tried), "config")
        rule = f"how much each hparam matters can be estimated from {FEWEST} configs on; results so far: {have}"
        yield Finding("importance", rule, facts={"configs": len(tried)})
        return
    found = _importances(searched, tried)
    for each in found:
        if each.exceeds_chance:
            name = " with ".join(each.hparams)
            share = f"{name}: {each.share:.0%} of what sets the best configs apart"
            yield Finding("importance", share, facts={"hparams": list(each.hparams), "share": each.share})
    if not any(each.exceeds_chance for each in found):
        says = f"among {len(tried)} configs no hparam stands out from chance; with few configs a real one may not"
        yield Finding("importance", says)


def _dead(ledger: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for record in ledger:
        if record["kind"] == "experiment" and record["verdict"] == Outcome.DEAD and "task" not in record:
            changed = ", ".join(record["changed"])
            says = f"{changed}: made no difference, to the bit, between the values of experiment {record['id']}"
            yield Finding("dead", says, facts={"hparams": list(record["changed"]), "experiment": record["id"]})


def _boundaries(sweep: Sweep, searched: Space, best: Config, alike: Sequence[Config]) -> Iterator[Finding]:
    """Find the axes that have the best config at one end, unless values beyond it are invalid, or below 0.

    Args:
      alike: configs whose difference from the best may be noise.
    """
    known = "incumbent" if sweep.document.loop else "best config"
    for name, value in searched.values(best).items():
        bounds = (*sweep.names.bounds(name.rpartition(".")[2]), 0)
        if not (end := _end(searched, name, value)) or value in bounds:
            continue
        elsewhere = {each for config in alike for each in [searched.values(config).get(name)] if each is not None}
        is_open = any(_end(searched, name, each) != end for each in elsewhere)
        says = f"{name}: the {known} lies at the {end} end of its axis, {value:g}"
        says += f", but other values of {name} may be as good" if is_open else ": widen it there"
        yield Finding("boundary", says, facts={"hparam": name, "end": end, "value": value})


def _end(searched: Space, name: str, value: Any) -> str:
    """Return the end of an axis at which a value lies: "lower", "upper", or ""."""
    if searched.is_continuous(name):
        place = searched.fraction(name, value)
        return "lower" if place <= EDGE else "upper" if place >= 1 - EDGE else ""
    values = searched.points(name)
    if len(values) < 3 or any(isinstance(value, str | bool) for value in values):
        return ""
    return "lower" if value == min(values) else "upper" if value == max(values) else ""


def _survivors(store: Store, searched: Space) -> list[Config]:
    """Return a sweep's configs without those whose members have all diverged."""
    members = store.members()
    return [
        searched.config_of(searched.values(config.hparams))
        for config in ranking.ranked(store, so_far=store.trains, every=True)
        if any(members[number].status != Status.DIVERGED for number in config.members)
    ]


def _untested(searched: Space, configs: Sequence[Config], survivors: Sequence[Config]) -> Iterator[Finding]:
    """Find the widest gap between configs on each axis, but for those between two values at which all diverged.

    Args:
      survivors: those of the configs that did not diverge.
    """
    if not survivors:
        return
    values = [searched.values(config) for config in configs]
    survived = [searched.values(config) for config in survivors]
    for name in searched.axes:
        tried = [each[name] for each in values if name in each]
        if not searched.is_continuous(name):
            absent = [value for value in searched.points(name) if value not in tried]
            if absent:
                says = f"{name}: nothing was tried at {', '.join(map(str, absent))}"
                yield Finding("untested", says, facts={"hparam": name, "values": absent})
            continue
        places = np.array([0.0, *sorted(searched.fraction(name, value) for value in tried), 1.0])
        alive = {0.0, 1.0, *(searched.fraction(name, each[name]) for each in survived if name in each)}
        beside_survivor = [low in alive or high in alive for low, high in itertools.pairwise(places.tolist())]
        at = int(np.where(beside_survivor, np.diff(places), 0.0).argmax())
        if places[at + 1] - places[at] > GAP + 1e-6:  # five even points leave none
            low, high = (searched.at(name, float(place)) for place in places[at : at + 2])
            says = f"{name}: nothing was tried between {low:.3g} and {high:.3g}"
            yield Finding("untested", says, facts={"hparam": name, "low": low, "high": high})


def _undecided(ledger: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Estimate the seeds needed to detect the effects of undecided experiments, the largest first."""
    open_ones = [
        record
        for record in ledger
        if record["kind"] == "experiment" and record["verdict"] == Outcome.UNDECIDED and record["effect"] > 0
    ]
    for record in sorted(open_ones, key=lambda each: -each["effect"])[:SHOWN]:
        margin = (record["high"] - record["low"]) / 2
        deviation = margin * math.sqrt(record["n"]) / float(stats.t.isf(record["level"], record["n"] - 1))
        seeds = seeds_needed(record["effect"] / deviation, record["level"]) if deviation else None
        wanted = (
            f"detecting it would take {seeds} paired seeds"
            if seeds
            else "too small to detect with any number of seeds"
        )
        says = f"experiment {record['id']}: undecided, {record['effect']:+.3g} on {record['n']} seeds; {wanted}"
        facts = {"experiment": record["id"], "effect": record["effect"], "seeds_needed": seeds}
        yield Finding("undecided", says, facts)


def _plateau(ledger: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Report rounds without a success, and what they rule out."""
    rounds = [record["round"] for record in ledger if record["kind"] == "round"]
    experiments = [record for record in ledger if record["kind"] == "experiment" and record["proposer"] != "try"]
    succeeded = [record["round"] for record in experiments if record["verdict"] == Outcome.SUCCESS]
    idle = len(rounds) - max(succeeded, default=0)
    if idle < 2:
        return
    floor = next(record for record in ledger if record["kind"] == "floor")
    says = (
        f"the last {idle} rounds found nothing better: a challenger better by {floor['resolves']:.2g} would have "
    )
    says += "been confirmed with 80% power at the first round's level, but screening may have missed it"
    yield Finding("plateau", says, facts={"rounds": idle, "resolves": floor["resolves"]})
