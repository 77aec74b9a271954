"""The UCI optical digits (Alpaydin and Kaynak 1998), 1797 images of 8x8, shipped beside this file."""

import gzip
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np

from jaxloop.core.task import Task
from jaxloop.models import classifier
from jaxloop.sweep.catalog import DATA
from jaxloop.tasks.splits import noisy_labels, split


def digits(**options: Any) -> Task:
    """Classifies 64 pixels, scaled to 0..1, into ten digits.

    Args:
      **options: `validation_split` and `test_split`, shares of all examples; `label_noise`, the share of
        training labels drawn anew; `seed` of the order in which examples are split.
    """
    options = {**DATA["digits"], **options}
    packed = resources.files("jaxloop.tasks").joinpath("digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",")
    table = table[np.random.default_rng(options["seed"]).permutation(len(table))]
    x, y = (table[:, :-1] / 16).astype(np.float32), table[:, -1].astype(np.int32)
    data = split({"x": x, "y": y}, options["validation_split"], options["test_split"])
    train = data.splits()["train"]
    noisy = noisy_labels(train["y"], options["label_noise"], 10, options["seed"])
    return classifier(replace(data, train={**train, "y": noisy}), classes=10, shape=(8, 8, 1))
