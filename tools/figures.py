"""Draws the README's figures from finished runs of the sweeps: `python tools/figures.py lr_wd runs/lr_wd`."""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.colors
import matplotlib.patches
import matplotlib.pyplot as plt
import numpy as np

import jaxloop

DOCS = Path(__file__).parent.parent / "docs"


def learning_rate_by_weight_decay(path: str) -> None:
    """Every member's validation accuracy, and each config's test accuracy averaged over its seeds."""
    run = jaxloop.load(path)
    members = [member.hparams for member in run.members]
    rates = sorted({hparams["learning_rate"] for hparams in members})
    decays = sorted({hparams["weight_decay"] for hparams in members})
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")

    colours = plt.get_cmap("viridis")(np.linspace(0, 1, len(rates)))
    for hparams, curve in zip(members, run.curves("validation/accuracy"), strict=True):
        left.plot(
            run.steps(), 100 * curve, lw=0.6, alpha=0.6, color=colours[rates.index(hparams["learning_rate"])]
        )
    title = f"{len(members)} members, one XLA program"
    left.set(title=title, xlabel="step", ylabel="validation accuracy (%)")
    for rate, colour in zip(rates, colours, strict=True):
        left.plot([], color=colour, label=f"{rate:.2g}")
    left.legend(title="learning rate", fontsize=8, ncols=2, loc="lower right")

    accuracy = np.zeros((len(decays), len(rates)))
    for hparams, test in zip(members, run.curves("test/accuracy")[:, -1], strict=True):
        accuracy[decays.index(hparams["weight_decay"]), rates.index(hparams["learning_rate"])] += test
    accuracy *= 100 * len(rates) * len(decays) / len(members)
    image = right.imshow(accuracy, origin="lower", aspect="auto", cmap="viridis")
    for (row, column), value in np.ndenumerate(accuracy):
        light = value < (accuracy.min() + accuracy.max()) / 2
        right.text(
            column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if light else "black"
        )
    right.set(title="test accuracy (%), mean of 4 seeds", xlabel="learning rate", ylabel="weight decay")
    right.set_xticks(range(len(rates)), [f"{rate:.2g}" for rate in rates], fontsize=8)
    right.set_yticks(range(len(decays)), [f"{decay:g}" for decay in decays])
    figure.colorbar(image)
    figure.savefig(DOCS / "lr_wd.png", dpi=110)


PHASES = ("comprehension", "grokking", "memorization", "confusion")
LEARNED, LATE = 0.9, 1000  # Liu et al. 2022: an accuracy that counts as learned; steps that make it late


def phase(steps: np.ndarray, trained: np.ndarray, held_out: np.ndarray) -> int:
    """Which of `PHASES` a member went through, from its (points,) accuracies on either split."""
    if not (trained >= LEARNED).any():
        return 3
    if not (held_out >= LEARNED).any():
        return 2
    first, second = (steps[np.argmax(curve >= LEARNED)] for curve in (trained, held_out))
    return int(second - first >= LATE)


def grokking(path: str) -> None:
    """The phase of each learning rate and weight decay, and the curves of a member that grokked."""
    run = jaxloop.load(path)
    members = [member.hparams for member in run.members]
    rates = sorted({hparams["learning_rate"] for hparams in members})
    decays = sorted({hparams["weight_decay"] for hparams in members})
    trained, held_out = run.curves("train/accuracy"), run.curves("validation/accuracy")
    found = [phase(run.steps(), *curves) for curves in zip(trained, held_out, strict=True)]
    grid = np.zeros((len(decays), len(rates)), int)
    for hparams, number in zip(members, found, strict=True):
        grid[decays.index(hparams["weight_decay"]), rates.index(hparams["learning_rate"])] = number

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    colours = matplotlib.colors.ListedColormap(["#2a9d8f", "#e9c46a", "#e76f51", "#8d99ae"])
    left.imshow(grid, origin="lower", aspect="auto", cmap=colours, vmin=0, vmax=3)
    left.set(title=f"{len(members)} members: four phases", xlabel="decoder learning rate", ylabel="weight decay")
    left.set_xticks(range(0, len(rates), 2), [f"{rate:.1e}" for rate in rates[::2]], fontsize=8)
    left.set_yticks(range(0, len(decays), 2), [f"{decay:g}" for decay in decays[::2]])
    patches = [matplotlib.patches.Patch(color=colours(number), label=name) for number, name in enumerate(PHASES)]
    left.legend(handles=patches, fontsize=8, loc="upper right")

    last_memorized = len(found) - 1 - found[::-1].index(2)  # at the highest rate
    for name, number in (("grokking", found.index(1)), ("memorization", last_memorized)):
        (line,) = right.plot(run.steps(), 100 * trained[number], lw=1, ls="--")
        label = f"{name}, held out (dashed: trained)"
        right.plot(run.steps(), 100 * held_out[number], lw=1.5, color=line.get_color(), label=label)
    right.set(title="one member of each", xlabel="step", ylabel="accuracy (%)", xscale="log")
    right.legend(fontsize=8)
    figure.savefig(DOCS / "grokking.png", dpi=110)


def transfer(path: str) -> None:
    """Training loss by learning rate, a line a width, in either parametrization."""
    run = jaxloop.load(path)
    losses: dict[tuple, list[float]] = {}
    for member, loss in zip(run.members, run.curves("train/loss")[:, -1], strict=True):
        key = tuple(member.hparams[name] for name in ("parametrization", "width", "learning_rate"))
        losses.setdefault(key, []).append(loss)
    widths = sorted({width for _, width, _ in losses})
    rates = sorted({rate for _, _, rate in losses})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
    for plot, name in zip(axes, ("standard", "mup"), strict=True):
        for width, colour in zip(widths, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(widths))), strict=True):
            curve = [np.mean(losses[name, width, rate]) for rate in rates]
            best = int(np.argmin(curve))
            plot.plot(rates, curve, color=colour, label=str(width))
            plot.plot(rates[best], curve[best], "o", color=colour)
        plot.set(title=name, xlabel="learning rate", xscale="log", ylim=(0, 2))
    axes[0].set_ylabel("training loss after 300 steps, mean of 3 seeds")
    axes[0].legend(title="width", fontsize=8)
    figure.savefig(DOCS / "mup_transfer.png", dpi=110)


VERDICTS = {"success": "#2a9d8f", "tie": "#e9c46a", "undecided": "#8d99ae", "failure": "#e76f51"}


def loop(path: str) -> None:
    """All proposals by what screening saw, with the incumbent; the effect of each challenger, and the audit."""
    run = jaxloop.load(path)
    experiments = [record for record in run.ledger if "screening_mean" in record]  # no tries
    floor, audit = (next(r for r in run.ledger if r["kind"] == kind) for kind in ("floor", "audit"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")

    waiting = [record for record in experiments if "effect" not in record]
    judged = [record for record in experiments if "effect" in record]
    left.plot([r["id"] for r in waiting], [r["screening_mean"] for r in waiting], ".", color="#bbbbbb", ms=5)
    for record in judged:
        left.plot(record["id"], record["screening_mean"], "o", color=VERDICTS[record["verdict"]], ms=7)
    steps, level = [(0, floor["mean"])], floor["mean"]
    for record in (r for r in run.ledger if r["kind"] == "round"):
        of_round = [r for r in judged if r["round"] == record["round"] and r["config"] == record["incumbent"]]
        level -= of_round[0]["effect"] if of_round else 0.0
        steps.append((record["experiments"], level))
    left.step(*zip(*steps, strict=True), where="post", color="black", lw=1.5, label="incumbent")
    low = min(level, *(record["screening_mean"] for record in experiments))
    left.set(title=f"{len(experiments)} proposals, screened", xlabel="proposal", ylabel="validation loss")
    left.set_ylim(low - 0.02, low + 0.5)
    left.legend(loc="upper right", fontsize=8)

    rows = [*judged, {**audit, "id": "audit"}]
    for at, record in enumerate(rows):
        colour = "black" if record["id"] == "audit" else VERDICTS[record["verdict"]]
        right.plot([record["low"], record["high"]], [-at, -at], color=colour, lw=2)
        right.plot(record["effect"], -at, "o", color=colour, ms=6)
    right.axvline(0, color="#bbbbbb", lw=1)
    right.locator_params(axis="x", nbins=5)
    labels = [str(record["id"]) if record["id"] == "audit" else f"proposal {record['id']}" for record in rows]
    right.set_yticks([-at for at in range(len(rows))], labels, fontsize=8)
    for name, colour in VERDICTS.items():
        right.plot([], [], "o", color=colour, label=name)
    right.plot([], [], "o", color="black", label="audit, test split")
    right.legend(fontsize=8, loc="best")
    right.set(title="verdicts on fresh paired seeds", xlabel="effect over the incumbent; audit: over the baseline")
    figure.savefig(DOCS / "loop.png", dpi=110)


OWN_STEPS = ("ppo_cartpole", "batchnorm_cnn", "gan_ring", "sam", "neural_ode", "own_optimizer")


def own_steps(path: str) -> None:
    """The ranked metric of six runs in one folder by their axes: mean and standard error over seeds."""
    figure, plots = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    for plot, name in zip(plots.flat, OWN_STEPS, strict=True):
        run = jaxloop.load(Path(path) / name)
        metric = run.store.metric
        axis, *others = (axis for axis in run.store.varied if axis != "seed")
        found: dict[Any, dict[float, list[float]]] = {}
        for member in run.members:
            line = member.hparams[others[0]] if others else ""
            value = member.metrics.get(metric, np.nan)
            found.setdefault(line, {}).setdefault(member.hparams[axis], []).append(value)
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(found)))
        for (line, by_axis), colour in zip(sorted(found.items()), colours, strict=True):
            values = np.array([by_axis[at] for at in sorted(by_axis)])
            errors = values.std(1, ddof=1) / values.shape[1] ** 0.5
            label = f"{line:.3g}" if others else None
            plot.errorbar(sorted(by_axis), values.mean(1), errors, color=colour, marker="o", ms=4, label=label)
        plot.set(
            title=name,
            xlabel=axis.replace("_", " "),
            ylabel=metric,
            xscale="log" if axis != "radius" else "linear",
        )
        if others:
            plot.legend(title=others[0].replace("_", " "), fontsize=7, title_fontsize=8)
    figure.savefig(DOCS / "own_steps.png", dpi=110)


FIGURES = {
    "lr_wd": learning_rate_by_weight_decay,
    "grokking": grokking,
    "mup_transfer": transfer,
    "loop": loop,
    "own_steps": own_steps,
}

if __name__ == "__main__":
    FIGURES[sys.argv[1]](sys.argv[2])
