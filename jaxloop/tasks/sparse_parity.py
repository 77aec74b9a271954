"""Sparse parity (Barak et al. 2022, arXiv:2207.08799): the product of a few of many random signs."""

from typing import Any

import numpy as np

from jaxloop.core.task import Task
from jaxloop.models import classifier
from jaxloop.sweep.catalog import DATA
from jaxloop.tasks.splits import split


def sparse_parity(**options: Any) -> Task:
    """Predicts whether the product of the first `relevant` of `bits` signs is positive.

    Args:
      **options: `bits`; `relevant`; `num_samples`; `validation_split` and `test_split`, shares of all; `seed`.
    """
    options = {**DATA["sparse_parity"], **options}
    shape = (options["num_samples"], options["bits"])
    x = np.random.default_rng(options["seed"]).choice(np.array([-1, 1], np.float32), shape)
    y = (x[:, : options["relevant"]].prod(1) > 0).astype(np.int32)
    data = split({"x": x, "y": y}, options["validation_split"], options["test_split"])
    return classifier(data, classes=2, shape=(options["bits"], 1))
