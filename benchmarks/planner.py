"""What the planner's constants stand for: seconds of a size class's compilation, of a FLOP, of a step beside them.

    python benchmarks/planner.py [--quick]

Trains MLPs of several widths, a program each, and fits seconds a member-step = a + b x FLOPs by least squares;
compiles all of them in one program, padded to the largest and with a size class for each.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np

from jaxloop import api
from jaxloop.core import size_classes
from jaxloop.core.bucket import divided
from jaxloop.core.costs import step_cost
from jaxloop.core.devices import member_mesh
from jaxloop.core.program import compiled
from jaxloop.sweep import sweep
from jaxloop.training import create, train
from jaxloop.training.host import use_every_core

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = {steps}
[hparams]
[axes]
width = {{ values = {widths}, kind = "padded" }}
seed = {{ count = 64 }}
[checkpoint]
keep = "none"
"""
WIDTHS = [8, 32, 64, 100, 128, 256]


def read(widths: list[int], steps: int) -> Any:
    """The sweep, its task and the one program of its members."""
    swept = sweep.parse(SWEEP.format(steps=steps, widths=widths))
    task = api.task_of(swept)
    return swept, task, *size_classes.buckets(swept, task)


def compile_seconds(steps: int) -> float:
    """Seconds that each size class more adds to a compilation."""
    swept, task, padded = read(WIDTHS, steps)
    parts = [[n for n in padded.numbers if swept.members[n]["width"] == width] for width in WIDTHS]
    one, each = (
        measure.seconds(partial(compiled, swept, task, bucket, member_mesh()))
        for bucket in (padded, divided(swept, padded, parts))
    )
    print(f"{len(WIDTHS)} widths in one program: compiled in {one:.1f} s padded, in {each:.1f} s as size classes")
    return (each - one) / (len(WIDTHS) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    steps = 50 if parser.parse_args().quick else 400
    use_every_core()
    rows = []
    for width in WIDTHS:
        swept, task, bucket = read([width], steps)
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            create.create(swept, task, run)
            found = train.train(run, swept, task)
        flops = step_cost(swept, task, bucket).flops
        seconds = found.seconds / (64 * steps)
        rows.append((flops, seconds))
        print(
            f"width {width:4}: {flops / 1e6:7.2f} MFLOP, {1e6 * seconds:7.1f} us a member-step, "
            f"{flops / seconds / 1e9:5.1f} GFLOP/s, compiled in {found.compile_seconds:.1f} s"
        )
    flops, seconds = np.array(rows).T
    (slope, beside), *_ = np.linalg.lstsq(np.stack([flops, np.ones(len(rows))], 1), seconds, rcond=None)
    a_class = compile_seconds(steps)
    print(f"FLOPS_PER_SECOND {1 / slope:.3g}, STEP_SECONDS {beside:.3g}, COMPILE_SECONDS {a_class:.2g}")


if __name__ == "__main__":
    main()
