"""Draws the README's figure from a finished run of sweeps/lr_wd.toml: `python tools/figures.py runs/lr_wd`."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
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


if __name__ == "__main__":
    learning_rate_by_weight_decay(sys.argv[1])
