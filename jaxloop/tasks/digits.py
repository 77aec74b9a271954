"""The UCI optical digits (Alpaydin and Kaynak 1998), 1797 images of 8x8, shipped beside this file."""

import gzip
from importlib import resources

import numpy as np

from jaxloop.declared import DATA
from jaxloop.models import classifier
from jaxloop.task import Data, Task
from jaxloop.tasks.splits import noisy_labels


def digits(**options) -> Task:
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
    tested = round(len(y) * options["test_split"])
    validated = tested + round(len(y) * options["validation_split"])
    return classifier(
        Data(
            train={
                "x": x[validated:],
                "y": noisy_labels(y[validated:], options["label_noise"], 10, options["seed"]),
            },
            validation={"x": x[tested:validated], "y": y[tested:validated]},
            test={"x": x[:tested], "y": y[:tested]},
        ),
        classes=10,
        shape=(8, 8, 1),
    )
