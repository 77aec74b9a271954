"""How often a loop of the whole engine calls something better where nothing is: a task whose metric is pure noise.

The metric is drawn from a member's seed and hparams alone, so that no config is better than another. A second test
uses real training: one MLP config on MNIST-1D is trained on many seeds and compared with itself on disjoint ones.
"""

import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np

import jaxloop
from jaxloop.experiments.verdict import Criteria, Outcome, judge
from jaxloop.sweep import sweep

TASK = """
import jax
import jax.numpy as jnp
import numpy as np

import jaxloop

rows = {"x": np.zeros((8, 1), np.float32)}

def init(key, hparams):
    bits = jax.lax.bitcast_convert_type(hparams["a"], jnp.int32)
    return {"noise": jax.random.normal(jax.random.fold_in(key, bits))}

def loss(params, batch, key, hparams):
    return 0.0 * params["noise"], {}

def metrics(params, batch, hparams):
    return {"score": params["noise"]}

task = jaxloop.Task(init, loss, metrics, jaxloop.Data(rows, rows, rows), hparams={"a": 0.5})
"""
LOOP = """
[run]
task = "noise.py:task"
steps = 1
evaluate_every = 1
[hparams]
optimizer = "sgd"
learning_rate = 0.1
batch_size = 1
[axes]
a = {{ linear = [0.0, 1.0] }}
[evaluate]
metric = "validation/score"
mode = "max"
[loop]
rounds = 3
configs = 32
seed = {seed}
[checkpoint]
keep = "none"
"""
REAL = """
[run]
task = "mnist1d"
steps = 500
evaluate_every = 500
[hparams]
width = 32
batch_size = 64
[axes]
seed = {{ count = {seeds} }}
[checkpoint]
keep = "none"
"""
LEVELS, PAIRS = (0.05, 0.0042), (8, 16, 32)


def false_successes(loops: int, folder: Path) -> list[int]:
    """Of each loop of the engine, how many challengers it called better."""
    (folder / "noise.py").write_text(TASK)
    found = []
    for seed in range(loops):
        (folder / "loop.toml").write_text(LOOP.format(seed=seed))
        with jaxloop.loop(folder / "loop.toml", out=folder / f"run-{seed}") as run:
            verdicts = [record["verdict"] for record in run.ledger if record["kind"] == "experiment"]
        found.append(verdicts.count(Outcome.SUCCESS))
    return found


def rejected(values: np.ndarray, pairs: int, level: float, draws: int) -> float:
    """The share of comparisons of a config with itself, on disjoint seeds, that are called a success."""
    random = np.random.default_rng(0)
    criteria, found = Criteria("max"), 0
    for _ in range(draws):
        seeds = random.permutation(len(values))[: 2 * pairs]
        verdict = judge(values[seeds[:pairs]], values[seeds[pairs:]], criteria, level=level, is_last=True)
        found += verdict.outcome == Outcome.SUCCESS
    return found / draws


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    arguments = parser.parse_args()
    loops, seeds = (3, 64) if arguments.quick else (50, 1024)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = false_successes(loops, folder)
        wrong = sum(count > 0 for count in found)
        print(f"{wrong} of {loops} loops on pure noise called one of {loops * 96} configs better")
        real = jaxloop.run(sweep.parse(REAL.format(seeds=seeds)), out=folder / "real")
        for metric in ("validation/loss", "validation/accuracy"):
            values = np.array([member.metrics[metric] for member in real.members])
            for pairs in PAIRS:
                for level in LEVELS:
                    share = rejected(values, pairs, level, 200 if arguments.quick else 20_000)
                    rows.append({"metric": metric, "pairs": pairs, "level": level, "rejected": share})
                    print(f"{metric:20} {pairs:2} pairs at {level}: {share:.4f} rejected")
    if arguments.chart:
        names = [f"{row['metric'].partition('/')[2]}, {row['pairs']}, {row['level']}" for row in rows]
        shares = {"share of the level": [row["rejected"] / row["level"] for row in rows]}
        measure.bars(arguments.chart, names, shares, "comparisons rejected over the level", "linear")
    measure.publish({"loops": loops, "false": wrong, "rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
