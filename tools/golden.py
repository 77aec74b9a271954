"""Makes tests/golden/format-N, a run of this version that later ones must read. Run once for each format.

python tools/golden.py
"""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxloop
from jaxloop.storage.database import FORMAT
from jaxloop.storage.store import Store
from jaxloop.sweep import sweep

SWEEP = """
[run]
task = "sparse_parity"
steps = 60
evaluate_every = 10
[data]
bits = 8
relevant = 2
num_samples = 200
[hparams]
model = "mlp"
width = 4
depth = 1
batch_size = 16
[axes]
learning_rate = { values = [0.01, 0.1] }
steps = { values = [20, 60] }
[checkpoint]
every = 10
"""


class Stopped(Exception):
    """Ends the run in the middle, so that it has a checkpoint and members of every status."""


def make(folder: Path) -> None:
    swept = sweep.parse(SWEEP)
    turns = []

    def stop(progress: Any) -> None:
        turns.append(progress)
        if len(turns) == 4:
            raise Stopped

    with contextlib.suppress(Stopped):
        jaxloop.run(swept, out=folder / "run", observe=stop)
    with jaxloop.run(swept, out=folder / "whole") as run:
        curves = {
            metric: [[None if np.isnan(value) else float(value) for value in row] for row in run.curves(metric)]
            for metric in run.store.metric_names()
        }
        params = [[leaf.ravel().tolist() for leaf in jax.tree.leaves(run.params(m))] for m in run.members]
    shutil.rmtree(folder / "whole")
    (folder / "expected.json").write_text(json.dumps({"curves": curves, "params": params}))
    with Store(folder / "run") as store:
        store.put(folder=".")
        store.connection.execute("pragma journal_mode = delete")  # one file, for git
    facts = json.loads((folder / "run" / "run.json").read_text())
    about = {name: facts[name] for name in ("name", "origins", "versions", "device_kind", "processor")}
    (folder / "run" / "run.json").write_text(json.dumps({**about, "folder": "."}, indent=1))
    (folder / "run" / ".lock").unlink()


def main() -> None:
    target = Path(__file__).parent.parent / "tests" / "golden" / f"format-{FORMAT}"
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:  # orbax writes down where it saved
        make(Path(made))
        shutil.copytree(made, target)


if __name__ == "__main__":
    main()
