"""`jaxloop watch`: a run seen from another terminal, which reads its store and nothing else."""

import time
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from jaxloop.formatting import duration, in_order, value
from jaxloop.readers.terminal.ledger import standing
from jaxloop.readers.terminal.panel import console
from jaxloop.readers.terminal.tables import best_table
from jaxloop.storage.overview import Overview, overview
from jaxloop.storage.ranking import RankedConfig, ranked, with_finite_mean
from jaxloop.storage.store import Store

BLOCKS = " ▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
WIDTH = 60  # of a curve, in letters
CELLS = 16  # of an axis of the heatmap


def watch(run: Path, every: float, *, once: bool) -> None:
    """Show a run until it ends.

    Args:
      every: seconds between refreshes.
      once: print one snapshot.

    Raises:
      NotFoundError: there is no run.
    """
    screen = console()
    with Store(run) as store:
        if once or not screen.is_terminal:
            with store.read_transaction():
                screen.print(rendered(store, screen.width))
            return
        with Live(console=screen, auto_refresh=False) as live:
            while True:
                with store.read_transaction():
                    seen = overview(store)
                    live.update(rendered(store, screen.width, seen), refresh=True)
                if seen.state.status not in ("created", "running"):
                    return
                time.sleep(every)


def rendered(store: Store, width: int, seen: Overview | None = None) -> Group:
    """Return the panel: progress, the loop's standing, the best configs, a curve and a heatmap."""
    seen = seen or overview(store)
    counts = "  ".join(f"{name} {count}" for name, count in seen.state.counts_in_words().items() if count)
    configs = with_finite_mean(ranked(store, so_far=store.trains))
    parts: list[RenderableType] = [
        _bar(store.name, seen.share_done),
        Text(f"{seen.state.in_words()}, {duration(seen.seconds)} of training; members: {counts}"),
    ]
    parts += [Text(line) for line in standing(store.ledger())]
    if configs:
        parts.append(best_table(configs[:5], store.varied, store.metric, width))
        parts += [Text(drawn) for drawn in (_curve(store), _heatmap(store, configs)) if drawn]
    return Group(*parts)


def _bar(name: str, share_done: float | None) -> RenderableType:
    """Return a progress bar, or just the name of a loop that goes on, whose end is unknown."""
    if share_done is None:
        return Text(name)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(40),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    bar = Bar(*columns)
    bar.add_task(name, total=1000, completed=round(1000 * share_done))
    return bar


def _curve(store: Store) -> str:
    """Return the best value among all members at each step, as a line of blocks."""
    steps, finite = store.evaluation_curves(store.metric)
    measured = np.isfinite(finite).any(0)
    if measured.sum() < 2:
        return ""
    best = (np.nanmax if store.mode == "max" else np.nanmin)(finite[:, measured], axis=0)
    drawn = best[np.linspace(0, len(best) - 1, min(WIDTH, len(best))).round().astype(int)]
    low, high = float(drawn.min()), float(drawn.max())
    heights = (drawn - low) / (high - low or 1.0) * (len(BLOCKS) - 2) + 1
    line = "".join(BLOCKS[round(height)] for height in heights.tolist())
    ends = f"{best[0]:.4g} at step {steps[measured][0]} to {best[-1]:.4g} at step {steps[measured][-1]}"
    return f"best member at each step, {store.metric}: {line} {ends}"


def _heatmap(store: Store, configs: list[RankedConfig]) -> str:
    """Return the best config at each pair of values of the first two axes, the fuller a cell the better."""
    values = {name: {each.hparams[name] for each in configs if name in each.hparams} for name in store.axes}
    shown = [name for name in store.axes if 1 < len(values[name]) <= CELLS][:2]
    if len(shown) < 2:
        return ""
    across, down = shown
    axes = [in_order(values[name]) for name in shown]
    sign = 1.0 if store.mode == "max" else -1.0
    means = sorted(sign * (config.mean or 0.0) for config in configs)
    best: dict[tuple, float] = {}
    for config in reversed(configs):  # the best of a cell comes last
        best[config.hparams.get(across), config.hparams.get(down)] = sign * (config.mean or 0.0)
    lines = [
        f"{across} across, from {value(axes[0][0])} to {value(axes[0][-1])}, {down} down: "
        f"{SHADES[-1] * 2} best, {SHADES[1] * 2} worst"
    ]
    for one in axes[1]:
        row = "".join(_shade(best.get((other, one)), means) for other in axes[0])
        lines.append(f"  {row}  {value(one)}")
    return "\n".join(lines)


def _shade(mean: float | None, ordered: list[float]) -> str:
    """Return two letters for a cell, by the rank of its mean among all."""
    if mean is None:
        return ". "
    rank = float(np.searchsorted(ordered, mean)) / max(1, len(ordered) - 1)
    return SHADES[1 + min(3, int(4 * rank))] * 2
