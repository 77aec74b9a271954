"""The report's figures drawn by matplotlib, for papers and notebooks, from the same numbers."""

import base64
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxloop.errors import NotFoundError, SweepError
from jaxloop.formatting import value
from jaxloop.readers.report.results import results
from jaxloop.storage.store import Store
from jaxloop.sweep.suggest import unknown

if TYPE_CHECKING:
    from jaxloop.readers.figure import OwnFigure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8a6d3b")
BEST = len(COLOURS)  # configs with a line of their own
VERDICTS = {"success": "#009e73", "undecided": "#7f8793", "failure": "#d55e00"}
OTHER_VERDICT = "#e69f00"
TICKS = 12
LONG = 50  # characters; longer legend labels get a row each
AS_TEXT = {"parse_math": False}  # for users' names and values, in which "$" is no mathematics


class Plots:
    """The figures of one run; each is a matplotlib figure, which a notebook shows.

    Args:
      store: the run's.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @cached_property
    def results(self) -> dict[str, Any]:
        """What the report shows, as of the first figure."""
        return results(self.store)

    def curves(self, metric: str | None = None) -> "OwnFigure":
        """Draw a metric's curves: all members, and the mean of the best configs, ± 1 sd over seeds.

        Args:
          metric: by default the one that members are ranked by.
        """
        run = self.results
        name = metric or run["metric"]
        if name not in run["curves"]:
            raise NotFoundError(unknown("curve", name, run["curves"]))
        curve = run["curves"][name]
        steps = np.array(curve["steps"])
        values = np.frombuffer(base64.b64decode(curve["values"]), "<f4").reshape(-1, len(steps))
        figure, axes = _figure(f"{run['name']}: {name}")
        axes.plot(steps, values.T, color="#8a93a0", lw=0.5, alpha=0.25, zorder=1)
        best = [config for config in run["configs"] if config["mean"] is not None][:BEST]
        for config, colour in zip(best, COLOURS, strict=False):
            mine = values[config["members"]].astype(float)
            mine = np.where(np.isfinite(mine), mine, np.nan)
            measured = np.isfinite(mine).any(0) & np.array(curve["is_evaluation_step"])
            count, mean = np.isfinite(mine).sum(0)[measured], np.nanmean(mine[:, measured], 0)
            deviation = np.sqrt(np.nansum((mine[:, measured] - mean) ** 2, 0) / np.maximum(count - 1, 1))
            axes.plot(steps[measured], mean, color=colour, lw=1.6, label=_label(run, config), zorder=3)
            axes.fill_between(steps[measured], mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0)
        axes.set_xlabel("step")
        axes.set_ylabel(name, **AS_TEXT)
        if best:
            is_long = max(len(_label(run, config)) for config in best) > LONG
            size = 5 if is_long else 7
            legend = figure.legend(loc="outside lower center", ncols=1 if is_long else 2, fontsize=size)
            for text in legend.get_texts():
                text.set(**AS_TEXT)
        return figure

    def heatmap(self, across: str, up: str) -> "OwnFigure":
        """Draw the best mean at each pair of values of two axes, with the optimum outlined.

        Args:
          across: the name of one axis.
          up: the name of another.
        """
        run = self.results
        names = [axis["name"] for axis in run["axes"]]
        for name in (across, up):
            if name not in names:
                raise NotFoundError(unknown("axis", name, names))
        sides = [run["axes"][names.index(name)] for name in (across, up)]
        grid = np.full([len(side["cells"]) for side in reversed(sides)], np.nan)
        optimum: tuple = ()
        for place, config in reversed(list(enumerate(run["configs"]))):  # ranked: the best of a cell comes last
            column, row = (side["cell_of"][place] for side in sides)
            if config["mean"] is not None and None not in (column, row):
                grid[row, column] = config["mean"]
                optimum = column, row
        figure, axes = _figure(f"{run['name']}: {run['metric']}, the best config of each cell")
        if not optimum:
            return figure
        more_is_better = run["mode"] == "max"
        image = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis" if more_is_better else "viridis_r")
        axes.plot(*optimum, marker="s", ms=16, mfc="none", mec="black", mew=2)
        _name_ticks(axes.set_xticks, sides[0]["cells"])
        _name_ticks(axes.set_yticks, sides[1]["cells"])
        axes.set_xlabel(across, **AS_TEXT)
        axes.set_ylabel(up, **AS_TEXT)
        figure.colorbar(image)
        return figure

    def incumbent(self) -> "OwnFigure":
        """Draw what a loop's incumbent gains over the baseline as experiments go on, and the closing audit."""
        run = self.results
        steps, rounds = run["staircase"], [record for record in run["ledger"] if record["kind"] == "round"]
        if not rounds:
            raise NotFoundError(f"{run['path']}: is no loop, or its first round has not ended")
        figure, axes = _figure(f"{run['name']}: the incumbent's gain over the baseline in {run['metric']}")
        at = [step["experiments"] for step in steps]
        axes.step(at, [step["effect"] for step in steps], where="post", color=COLOURS[0], marker="o")
        for step in steps:
            if step["experiment"] is not None:
                axes.plot([step["experiments"]] * 2, [step["low"], step["high"]], color=COLOURS[0], lw=1.2)
        if audit := next((each for each in run["ledger"] if each["kind"] == "audit" and "effect" in each), None):
            place = rounds[-1]["experiments"] + 0.04 * at[-1]
            axes.plot([place] * 2, [audit["low"], audit["high"]], color="black", lw=1.2)
            axes.plot(place, audit["effect"], "D", color="black", label="audit on the test split")
            axes.legend(fontsize=8)
        axes.set_xlabel("experiments")
        axes.set_ylabel("gain, above 0 is better")
        return figure

    def verdicts(self) -> "OwnFigure":
        """Draw the effect of each experiment of a loop with its interval, coloured by verdict."""
        run = self.results
        judged = [r for r in run["ledger"] if r["kind"] == "experiment" and r.get("effect") is not None]
        if not judged:
            raise NotFoundError(f"{run['path']}: has no experiment with a verdict")
        figure, axes = _figure(f"{run['name']}: effect over the incumbent, on fresh paired seeds")
        for at, record in enumerate(judged):
            colour = VERDICTS.get(record["verdict"], OTHER_VERDICT)
            axes.plot([record["low"], record["high"]], [-at, -at], color=colour, lw=2)
            axes.plot(record["effect"], -at, "o", color=colour)
        axes.axvline(0, color="#8a93a0", lw=1)
        axes.set_yticks([-at for at in range(len(judged))], [f"#{record['id']}" for record in judged], fontsize=8)
        axes.set_xlabel("effect")
        return figure


def draw(store: Store, folder: Path, kind: str, name: str) -> list[Path]:
    """Draw all figures of a run into files, and return their paths.

    Args:
      folder: made if missing.
      kind: "png" or "svg".
      name: prefix of the files' names.
    """
    plots = Plots(store)
    run = plots.results
    figures = {f"curves-{metric}": plots.curves(metric) for metric in run["curves"]}
    axes = [axis["name"] for axis in run["axes"] if axis["values"] is None or len(axis["values"]) > 1]
    for first, second in itertools.combinations(axes, 2):
        figures[f"heatmap-{first}-{second}"] = plots.heatmap(first, second)
    if any(record["kind"] == "experiment" and record.get("effect") is not None for record in run["ledger"]):
        figures["verdicts"] = plots.verdicts()
    if any(record["kind"] == "round" for record in run["ledger"]):
        figures["incumbent"] = plots.incumbent()
    folder.mkdir(parents=True, exist_ok=True)
    paths = {title: folder / f"{name}-{title.replace('/', '-')}.{kind}" for title in figures}
    for title, figure in figures.items():
        figure.savefig(paths[title], dpi=150)
    return list(paths.values())


def _figure(title: str) -> tuple["OwnFigure", Any]:
    """Return a new figure and its axes.

    Raises:
      SweepError: matplotlib is not installed.
    """
    try:
        from jaxloop.readers.figure import OwnFigure
    except ImportError as error:
        raise SweepError('figures need matplotlib: pip install "jaxloop[plots]"') from error
    figure = OwnFigure(title)
    return figure, figure.axes[0]


def _label(run: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    names = [axis["name"] for axis in run["axes"]]
    pairs = zip(names, config["values"], strict=True)
    return " ".join(f"{name}={value(each)}" for name, each in pairs if each is not None) or "the only config"


def _name_ticks(set_ticks: Callable[..., Any], labels: Sequence[str]) -> None:
    """Name the cells of an axis, a dozen of them at most."""
    every = -(-len(labels) // TICKS)
    set_ticks(range(0, len(labels), every), labels[::every], fontsize=8, **AS_TEXT)
