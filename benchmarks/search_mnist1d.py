"""Trainings that a loop needs to find what random search does, on the space of `sweeps/loop_mnist1d.toml`.

Random search trains every config on one seed, as does the loop, which stops the worse half at each rung and
confirms at one look of two pairs. What counts is the mean loss, on seeds that neither saw, of the config that each
would choose.
"""

import argparse
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import measure
import numpy as np
import tomli_w
from search import compared, publish_shares

import jaxloop
from jaxloop.sweep import sweep

LOOP = Path(__file__).parent.parent / "sweeps" / "loop_mnist1d.toml"
PROPOSERS = ("tpe", "{ evolution = 0.5, random = 0.5 }", "{ tpe = 0.34, evolution = 0.33, random = 0.33 }")
FRESH_SEED, FRESH_SEEDS = 1000, 8  # of what counts

Hparams = dict[str, Any]
Choices = list[tuple[float, Hparams]]  # whole trainings, and the config that a search would choose after them


class Size(NamedTuple):
    """How much is searched."""

    repeats: int
    trainings: int  # of a search
    configs: int  # of a round
    steps: int


def sweep_of(axes: Hparams, size: Size, population: Hparams) -> sweep.Sweep:
    """The loop file's task and settings with other axes, as a plain sweep that keeps no parameters."""
    document = tomllib.loads(LOOP.read_text())
    for section in ("loop", "baseline"):
        del document[section]
    document["run"] |= {"steps": size.steps, "evaluate_every": size.steps}
    return sweep.parse(tomli_w.dumps({**document, "axes": axes, "population": population}), name="search")


def trained(swept: sweep.Sweep, folder: Path) -> list[tuple[Hparams, float]]:
    """The hparams of each member, and the metric of its last point; inf where there is none."""
    with jaxloop.run(swept, out=folder) as run:
        values = run.store.curves(run.store.metric)[1][:, -1].tolist()
        finite = [value if np.isfinite(value) else np.inf for value in values]
        return list(zip(swept.members, finite, strict=True))


def random_searches(size: Size, folder: Path) -> list[Choices]:
    """One search after the other through draws of one sweep, one seed a config."""
    axes = tomllib.loads(LOOP.read_text())["axes"]
    population = {"sampler": "random", "members": size.repeats * size.trainings}
    found = trained(sweep_of(axes, size, population), folder)
    searches = []
    for start in range(0, len(found), size.trainings):
        best, choices = np.inf, []
        for count, (config, value) in enumerate(found[start : start + size.trainings], start=1):
            if value < best:
                best = value
                choices.append((count, {name: config[name] for name in axes}))
        searches.append(choices)
    return searches


def loop_search(proposer: str, seed: int, size: Size, folder: Path) -> Choices:
    """The config with the best screening mean, of those that no rung stopped, after each round of a loop.

    Args:
      proposer: as in [loop], in TOML.
    """
    settings = (
        f"run.steps={size.steps}",
        f"run.evaluate_every={size.steps // 4}",
        f"loop.proposer={proposer}",
        f"loop.seed={seed}",
        f"loop.configs={size.configs}",
        "loop.rounds=100",
        f"loop.budget.member_steps={size.trainings * size.steps}",
        "loop.promote=1",
        "loop.screen_seeds=[1]",
        "loop.floor_seeds=4",
        "loop.audit_seeds=2",
        "verdict.looks=[2]",  # the fewest trainings that confirming can take
        "verdict.shares=[1.0]",
    )
    best, choices = ((False, -np.inf), {}), []
    with jaxloop.loop(LOOP, out=folder, overrides=settings) as run:
        for record in run.ledger:
            if record["kind"] == "experiment" and np.isfinite(record["screening_mean"]):
                rank = ("stopped_at" not in record, -record["screening_mean"])
                best = max(best, (rank, record["config"]), key=lambda each: each[0])
            elif record["kind"] == "round":
                choices.append((record["member_steps"] / size.steps, best[1]))
    return choices


def means(configs: Sequence[Hparams], size: Size, folder: Path) -> list[float]:
    """The mean of the metric of each config over fresh seeds; inf where one is not finite."""
    columns = {name: [config[name] for config in configs for _ in range(FRESH_SEEDS)] for name in configs[0]}
    columns["seed"] = [FRESH_SEED + number for _ in configs for number in range(FRESH_SEEDS)]
    axes = {name: {"values": values} for name, values in columns.items()}
    values = [value for _, value in trained(sweep_of(axes, size, {"sampler": "zip"}), folder)]
    return [float(np.mean(values[at : at + FRESH_SEEDS])) for at in range(0, len(values), FRESH_SEEDS)]


def main() -> None:
    parser = measure.parser(str(__doc__).splitlines()[0])
    parser.add_argument("--proposers", nargs="+", default=PROPOSERS, metavar="TOML", help="as in [loop]")
    parser.add_argument("--trainings", type=int, default=512, metavar="N", help="of each search")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        publish_shares(list(_rows(arguments, Path(folder))), arguments)


def _rows(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    size = Size(2, 12, 4, 20) if arguments.quick else Size(10, arguments.trainings, 32, 2000)
    proposers = ["evolution"] if arguments.quick else arguments.proposers
    searches = {"random search": random_searches(size, folder / "random")}
    print(f"random search: {size.repeats} x {size.trainings} trainings", flush=True)
    for number, proposer in enumerate(proposers):
        found = [loop_search(proposer, seed, size, folder / f"{number}-{seed}") for seed in range(size.repeats)]
        print(f"{proposer}: {[round(choices[-1][0]) for choices in found]} trainings", flush=True)
        searches[proposer] = found
    chosen = {_key(config): config for found in searches.values() for choices in found for _, config in choices}
    truths = dict(zip(chosen, means(list(chosen.values()), size, folder / "fresh"), strict=True))
    curves = {
        name: [[(count, -truths[_key(config)]) for count, config in choices] for choices in found]
        for name, found in searches.items()
    }
    targets = [curve[-1][1] for curve in curves.pop("random search")]
    for proposer, found in curves.items():
        ends = {
            "losses at the end": [-curve[-1][1] for curve in found],
            "random search's": [-target for target in targets],
        }
        yield compared(proposer, found, targets, size.trainings) | ends


def _key(config: Hparams) -> tuple:
    """Return a key by which configs are equal if the program's float32 numbers are."""
    return tuple((name, np.float32(x) if isinstance(x, float) else x) for name, x in sorted(config.items()))


if __name__ == "__main__":
    main()
