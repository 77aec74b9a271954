"""What the planner's constants stand for: seconds of a compilation, of a FLOP, of a step beside its FLOPs.

    python benchmarks/planner.py [--quick]

Trains MLPs of several widths, a program each, and fits seconds a member-step = a + b x FLOPs by least squares.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from jaxloop import api, planner, runner, sweep
from jaxloop.compiled import step_flops
from jaxloop.devices import use_every_core

SWEEP = """
[run]
task = "mnist1d"
steps = {steps}
evaluate_every = {steps}
[hparams]
width = {width}
[axes]
seed = {{ count = 64 }}
[checkpoint]
keep = "none"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    steps = 50 if parser.parse_args().quick else 400
    use_every_core()
    rows = []
    for width in (8, 32, 64, 100, 128, 256):
        swept = sweep.parse(SWEEP.format(steps=steps, width=width))
        task = api.task_of(swept)
        (bucket,) = planner.buckets(swept, task)
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            runner.create(swept, task, run)
            found = runner.train(run, swept, task)
        flops = step_flops(swept, task, bucket)
        rows.append((flops, found["seconds"] / (64 * steps), found["compile_seconds"]))
        seconds = rows[-1][1]
        print(
            f"width {width:4}: {flops / 1e6:7.2f} MFLOP, {1e6 * seconds:7.1f} us a member-step, "
            f"{flops / seconds / 1e9:5.1f} GFLOP/s, compiled in {found['compile_seconds']:.1f} s"
        )
    table = np.array(rows)
    (slope, beside), *_ = np.linalg.lstsq(np.stack([table[:, 0], np.ones(len(table))], 1), table[:, 1], rcond=None)
    print(f"FLOPS_PER_SECOND {1 / slope:.3g}, STEP_SECONDS {beside:.3g}, COMPILE_SECONDS {table[:, 2].mean():.2g}")


if __name__ == "__main__":
    main()
