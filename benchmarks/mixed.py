"""Twelve architectures in one program against one architecture of their mean FLOPs, in member-steps/s.

    python benchmarks/mixed.py [--quick]

Both are the same number of members, side by side in one process.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from jaxloop import api
from jaxloop.core.bucket import alone
from jaxloop.core.costs import step_cost
from jaxloop.sweep import sweep
from jaxloop.training import create, train
from jaxloop.training.host import use_every_core

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = 50
[axes]
{sizes}
learning_rate = {{ log = [3e-4, 3e-2], num = 16 }}
seed = {{ count = 4 }}
[checkpoint]
keep = "none"
"""
MIXES = {  # widths and depths: far apart, and near to each other
    "wide range": ([64, 80, 96, 128], [1, 2, 3]),
    "narrow range": ([104, 112, 120, 128], [3, 4, 5]),
}


def trained(sizes: str, steps: int) -> Any:
    """The summary of a run, and its sweep and task."""
    swept = sweep.parse(SWEEP.format(steps=steps, sizes=sizes))
    task = api.task_of(swept)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        create.create(swept, task, run)
        return train.train(run, swept, task), swept, task


def flops(swept: Any, task: Any, number: int) -> float:
    return step_cost(swept, task, alone(swept, number)).flops


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    steps = 50 if parser.parse_args().quick else 200
    use_every_core()
    for name, (widths, depths) in MIXES.items():
        padded = "\n".join(
            f"{size} = {{ values = {values} }}" for size, values in (("width", widths), ("depth", depths))
        )
        mixed, swept, task = trained(padded, steps)
        each = [flops(swept, task, number) for number in range(0, len(swept.members), 64)]
        mean, depth = sum(each) / len(each), depths[1]

        def uniform(width: int, depth: int = depth) -> str:
            twelve = "warmup_steps = { range = [0, 12] }"
            return f"width = {{ values = [{width}] }}\ndepth = {{ values = [{depth}] }}\n{twelve}"

        def at(width: int, task: Any = task) -> float:
            return flops(sweep.parse(SWEEP.format(steps=steps, sizes=uniform(width))), task, 0)

        width = min(range(min(widths), max(widths) + 1, 2), key=lambda width: abs(at(width) - mean))
        plain, *_ = trained(uniform(width), steps)
        ratio = mixed.member_steps_per_second / plain.member_steps_per_second
        print(
            f"{name}: {mixed.members} members, {mixed.programs} program: "
            f"{mixed.member_steps_per_second:,.0f} member-steps/s; all {width} wide and {depth} deep, the mean "
            f"{mean / 1e6:.1f} MFLOP: {plain['member_steps_per_second']:,.0f}; ratio {ratio:.2f} "
            f"(FLOPs alone: {mean / max(each):.2f})"
        )


if __name__ == "__main__":
    main()
