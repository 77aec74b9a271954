"""Arithmetic modulo a prime, the task on which grokking was found (Power et al. 2022, arXiv:2201.02177)."""

from typing import Any

import numpy as np

from jaxloop.core.task import Task
from jaxloop.models import classifier
from jaxloop.sweep.catalog import DATA
from jaxloop.tasks.splits import split

OPERATIONS = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}


def modular_addition(**options: Any) -> Task:
    """Predicts (a operation b) mod p from the pair of one-hot (a, b); half of what is not trained on is the test.

    Args:
      **options: `p`; `operation`, one of add, subtract, multiply; `train_fraction` of all p * p pairs; `seed` of
        the order in which pairs are split.
    """
    options = {**DATA["modular_addition"], **options}
    p = options["p"]
    pairs = np.stack(np.meshgrid(np.arange(p), np.arange(p), indexing="ij"), -1).reshape(-1, 2)
    pairs = pairs[np.random.default_rng(options["seed"]).permutation(len(pairs))]
    y = OPERATIONS[options["operation"]](pairs[:, 0], pairs[:, 1]) % p
    x = np.eye(p, dtype=np.float32)[pairs]
    held_out = (1 - options["train_fraction"]) / 2
    return classifier(split({"x": x, "y": y.astype(np.int32)}, held_out, held_out), classes=p, shape=(2, p))
