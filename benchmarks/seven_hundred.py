"""700 experiments of the published MNIST-1D protocol: how long one machine takes, from sweep to last result.

Each is an MLP (two hidden layers of 100, residual; Adam, batch 100, 6000 steps; arXiv:2011.14439): 35 learning
rates by 20 seeds, one population with everything on. For comparison: the loop that Karpathy's autoresearch made
famous took two days for as many experiments, of a larger model on a larger machine.
"""

import tempfile
import time
from pathlib import Path

import measure

import jaxloop
from jaxloop.storage.ranking import ranked
from jaxloop.sweep import sweep

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = {every}
[hparams]
model = "mlp"
width = 100
depth = 2
residual = true
optimizer = "adam"
batch_size = 100
[axes]
learning_rate = {{ log = [1e-3, 1e-1], num = {rates} }}
seed = {{ count = {seeds} }}
"""


def main() -> None:
    arguments = measure.parser(str(__doc__).splitlines()[0]).parse_args()
    small = {"steps": 100, "every": 50, "rates": 7, "seeds": 4}
    whole = {"steps": 6000, "every": 500, "rates": 35, "seeds": 20}
    swept = sweep.parse(SWEEP.format(**(small if arguments.quick else whole)), name="seven_hundred")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with jaxloop.run(swept, out=Path(folder) / "run") as run:
            seconds = time.perf_counter() - started
            best = run.summary.best[0]
            configs = sorted(ranked(run.store), key=lambda config: config.hparams["learning_rate"])
    experiments = len(swept.members)
    if arguments.chart:
        rates = [config.hparams["learning_rate"] for config in configs]
        title = f"test accuracy, mean of {len(best.members)} seeds"
        name = f"{experiments} experiments in {seconds:.0f} s"
        accuracy = {name: [config.metrics["test/accuracy"] for config in configs]}
        measure.lines(arguments.chart, rates, accuracy, "learning rate", title)
    measure.publish(
        {
            "experiments": experiments,
            "seconds": seconds,
            "seconds an experiment": seconds / experiments,
            "experiments in two days": 2 * 86400 * experiments / seconds,
            "best learning rate": best.hparams["learning_rate"],
            "its test accuracy": best.metrics["test/accuracy"],
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()
