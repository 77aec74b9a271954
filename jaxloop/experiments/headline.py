"""What a run has found, in a few lines: the best config, by how much, and how far to trust it."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxloop.experiments.lead import is_clear, leads
from jaxloop.experiments.verdict import Outcome
from jaxloop.formatting import value
from jaxloop.storage.ledger import incumbent
from jaxloop.storage.ranking import RankedConfig, ranked, with_finite_mean
from jaxloop.storage.state import state
from jaxloop.storage.store import Store


def headline(store: Store) -> list[str]:
    """Return a run's result in lines, the most important first."""
    ledger = store.ledger()
    if any(record["kind"] == "floor" for record in ledger):
        return _of_a_loop(ledger, store)
    configs = with_finite_mean(ranked(store, so_far=store.trains))
    if not configs:
        yet = " yet" if store.trains else ""
        return [f"no config has a finite {store.metric}{yet}: {state(store).members_in_words()}"]
    best = configs[0]
    lines = [f"{_values(best.hparams, store)}: {store.metric} {_measured(best)}{', so far' * store.trains}"]
    if len(configs) > 1:
        lines.append(f"over the second, {_values(configs[1].hparams, store)}: {_over(store, configs)}")
        chosen = f"chosen among {len(configs)} configs on the seeds that it was measured on"
        lines.append(f"{chosen}: expect a worse value on fresh ones")
    return lines


def _of_a_loop(ledger: Sequence[Mapping[str, Any]], store: Store) -> list[str]:
    """Return the closing audit's result, and what tries have found since; before it, where the loop stands."""
    audit = next((record for record in reversed(ledger) if record["kind"] == "audit"), {})
    now, has_rounds = _pairs(incumbent(ledger)), store.rounds != 0
    if has_rounds and not audit:
        return [f"the loop has not ended; incumbent {now or 'the baseline'}"]
    tries = [record for record in ledger if record["kind"] == "experiment" and record["proposer"] == "try"]
    adopted = [record for record in tries if record["verdict"] == Outcome.SUCCESS]
    lines = (
        ["no success: the baseline stays"] if has_rounds else ["a loop without rounds: its noise floor is known"]
    )
    if "effect" in audit:
        metric = store.metric.replace("validation/", "test/")
        on = f"audited on {audit['n']} fresh seeds that no decision has seen"
        lines = [
            f"{audit['verdict']}: {_pairs(audit['incumbent'])}",
            f"{_interval(audit)} gained over the baseline in {metric}, {on}",
        ]
    if adopted:
        last = adopted[-1]
        lines = [
            f"incumbent now {now}, by try {last['round']}: not audited",
            f"{_interval(last)} over the one before, on {last['n']} fresh seeds",
            *(f"before it: {line}" for line in lines[:1]),
            *lines[1:],
        ]
    return lines


def _interval(record: Mapping[str, Any]) -> str:
    sure = f"{100 * (1 - 2 * record['level']):.4g}% interval"
    return f"{record['effect']:+.4g}, {sure} [{record['low']:+.4g}, {record['high']:+.4g}],"


def _pairs(config: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value(each)}" for name, each in config.items())


def _over(store: Store, configs: Sequence[RankedConfig]) -> str:
    """Return the lead of the best config over the second, with its interval."""
    found = leads(configs, store.mode)[0]
    if found is None:
        best, second = (config.mean or 0.0 for config in configs[:2])
        ahead = (best - second if store.mode == "max" else second - best) + 0.0  # no "-0"
        has_noise = all(config.standard_error is not None for config in configs[:2])
        why = "seeds that do not vary give no interval" if has_noise else "too few seeds for an interval"
        return f"{ahead:+.4g}: {why}, it may be noise"
    verdict = "more than noise" if is_clear(found) else "it may be noise"
    interval = f"95% interval [{found.low:+.4g}, {found.high:+.4g}]"
    effect = found.effect + 0.0  # no "-0"
    return f"{effect:+.4g}, {interval} on {found.seeds} seeds, corrected for the choice: {verdict}"


def _values(hparams: Mapping[str, Any], store: Store) -> str:
    return _pairs({name: hparams[name] for name in store.axes if name in hparams}) or "the only config"


def _measured(config: RankedConfig) -> str:
    error = "" if config.standard_error is None else f" ± {config.standard_error:.4f}"
    return f"{config.mean:.4f}{error} ({config.finished} {'seed' if config.finished == 1 else 'seeds'})"
