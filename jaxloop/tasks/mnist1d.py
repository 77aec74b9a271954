"""MNIST-1D (Greydanus and Kobak 2024, arXiv:2011.14439), made by its authors' own generator."""

import importlib.metadata
from typing import Any

import numpy as np

from jaxloop.core.data import Data
from jaxloop.core.task import Task
from jaxloop.models import classifier
from jaxloop.sweep.catalog import DATA
from jaxloop.tasks.generated import remembered
from jaxloop.tasks.splits import noisy_labels


def mnist1d(**options: Any) -> Task:
    """Classifies 40-point signals into ten digits.

    Args:
      **options: `validation_split`, the share of the training examples held out; `label_noise`, the share of
        training labels drawn anew; all others are the generator's, with the published defaults.
    """
    options = {**DATA["mnist1d"], **options}
    validation_split, label_noise = options.pop("validation_split"), options.pop("label_noise")
    recipe = ["mnist1d", importlib.metadata.version("mnist1d"), options]
    raw = remembered(recipe, lambda: _generated(options))

    x, y = raw["x"], raw["y"]
    kept = len(y) - round(len(y) * validation_split)
    return classifier(
        Data(
            train={"x": x[:kept], "y": noisy_labels(y[:kept], label_noise, 10, options["seed"])},
            validation={"x": x[kept:], "y": y[kept:]},
            test={"x": raw["x_test"], "y": raw["y_test"]},
        ),
        classes=10,
        shape=(x.shape[1], 1),
    )


def _generated(options: dict[str, Any]) -> dict[str, np.ndarray]:
    from mnist1d.data import get_dataset_args, make_dataset  # loads slow modules

    arguments = get_dataset_args()
    for name, value in options.items():
        setattr(arguments, name, value)
    numpy_state = np.random.get_state()  # the generator seeds the global one
    try:
        raw = make_dataset(arguments)
    finally:
        np.random.set_state(numpy_state)
    return {
        name: np.asarray(raw[name], np.float32 if name.startswith("x") else np.int32)
        for name in ("x", "y", "x_test", "y_test")
    }
