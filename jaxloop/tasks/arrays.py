"""A user's own arrays, from an .npz file with x and y."""

from typing import Any

import numpy as np

from jaxloop.core.task import Task
from jaxloop.models import classifier, regressor
from jaxloop.sweep.catalog import DATA
from jaxloop.tasks.splits import split


def arrays(**options: Any) -> Task:
    """Predicts y from x: classes if y holds integers, from 0 on; else numbers, by least squares.

    Args:
      **options: `path` of the file, with "x" (examples, ...) of numbers and "y" (examples,) or, of floats,
        (examples, outputs); `validation_split` and `test_split`, shares of all; `seed` of the order in which
        examples are split.

    Raises:
      ValueError: the file lacks x or y, or they do not fit.
    """
    options = {**DATA["arrays"], **options}
    with np.load(options["path"], allow_pickle=False) as file:
        if missing := {"x", "y"} - set(file):
            raise ValueError(f"{options['path']} has no {', '.join(sorted(missing))}, only {', '.join(file)}")
        x, y = file["x"].astype(np.float32), file["y"]
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples, y has {len(y)}")
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        raise ValueError("x and y need to be finite")
    order = np.random.default_rng(options["seed"]).permutation(len(x))
    shape = x.shape[1:] if x.ndim > 2 else (x[0].size, 1)
    classes = np.issubdtype(y.dtype, np.integer)
    if classes and y.min() < 0:
        raise ValueError(f"classes are counted from 0, y has {y.min()}")
    y = y.astype(np.int32 if classes else np.float32)
    data = split({"x": x[order], "y": y[order]}, options["validation_split"], options["test_split"])
    if classes:
        return classifier(data, classes=int(y.max()) + 1, shape=shape)
    return regressor(data, outputs=int(np.prod(y.shape[1:])), shape=shape)
