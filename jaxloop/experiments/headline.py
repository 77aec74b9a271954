"""What a run has found, in a few lines: the best config, by how much, and how far to trust it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxloop.experiments.verdict import Criteria, judge
from jaxloop.storage.ranking import RankedConfig, ranked, with_finite_mean
from jaxloop.storage.records import ENDED
from jaxloop.storage.store import Store
from jaxloop.sweep.catalog import REPLICATES

LEVEL = 0.025  # of either end of the runner-up's interval


def headline(store: Store) -> list[str]:
    """Return a run's result in lines, the most important first."""
    audits = [record for record in store.ledger() if record["kind"] == "audit"]
    if audits:
        return _of_a_loop(audits[-1], store)
    counts = store.counts()
    so_far = any(count for status, count in counts.items() if status not in ENDED)
    configs = with_finite_mean(ranked(store, so_far=so_far))
    if not configs:
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return [f"no config has a finite {store.metric} {'yet' if so_far else ''}".rstrip() + f": {told}"]
    best = configs[0]
    lines = [f"{_values(best.hparams, store)}: {store.metric} {_measured(best)}{', so far' if so_far else ''}"]
    if len(configs) > 1:
        lines.append(f"over the second, {_values(configs[1].hparams, store)}: {_over(best, configs[1], store)}")
        lines.append(
            f"chosen among {len(configs)} configs on the seeds that it was measured on: expect less on others"
        )
    return lines


def _of_a_loop(audit: Mapping[str, Any], store: Store) -> list[str]:
    """Return the closing audit's result."""
    if "effect" not in audit:
        return ["no success: the baseline stays"]
    values = " ".join(f"{name}={_short(value)}" for name, value in audit["incumbent"].items())
    effect = f"{audit['effect']:+.4g} [{audit['low']:+.4g}, {audit['high']:+.4g}]"
    metric = store.metric.replace("validation/", "test/")
    return [
        f"{audit['verdict']}: {values}",
        f"{effect} over the baseline in {metric}, audited on {audit['n']} fresh seeds that no decision has seen",
    ]


def _over(best: RankedConfig, second: RankedConfig, store: Store) -> str:
    """Return the difference of two configs over the seeds that both have, with its interval."""
    values = [_by_replicate(config, store) for config in (best, second)]
    shared = sorted(values[0].keys() & values[1].keys(), key=str)
    if len(shared) < 2:
        return "one seed: nothing can be told from noise"
    pairs: Sequence[list[float]] = [[side[one] for one in shared] for side in values]
    found = judge(pairs[0], pairs[1], Criteria(store.mode), level=LEVEL, is_last=True)
    is_shown = "more than noise" if found.low > 0 else "no more than noise shows"
    return f"{found.effect:+.4g} [{found.low:+.4g}, {found.high:+.4g}] on {len(shared)} paired seeds: {is_shown}"


def _by_replicate(config: RankedConfig, store: Store) -> dict[tuple, float]:
    members = [store.member(str(number)) for number in config.members]
    return {
        tuple(member.hparams.get(name) for name in REPLICATES): member.metrics.get(store.metric, math.nan)
        for member in members
        if member.metrics
    }


def _values(hparams: Mapping[str, Any], store: Store) -> str:
    names = [name for name in store.varied if name not in REPLICATES and name in hparams]
    return " ".join(f"{name}={_short(hparams[name])}" for name in names) or "the only config"


def _measured(config: RankedConfig) -> str:
    error = "" if config.standard_error is None else f" ± {config.standard_error:.4f}"
    return f"{config.mean:.4f}{error} ({config.finished} {'seed' if config.finished == 1 else 'seeds'})"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
