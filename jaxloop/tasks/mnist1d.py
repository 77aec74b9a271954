"""MNIST-1D (Greydanus and Kobak 2024, arXiv:2011.14439), made by its authors' own generator."""

import numpy as np

from jaxloop.declared import DATA
from jaxloop.models import classifier
from jaxloop.task import Data, Task
from jaxloop.tasks.splits import noisy_labels


def mnist1d(**options) -> Task:
    """Classifies 40-point signals into ten digits.

    Args:
      **options: `validation_split`, the share of the training examples held out; `label_noise`, the share of
        training labels drawn anew; all others are the generator's, with the published defaults.
    """
    from mnist1d.data import get_dataset_args, make_dataset  # loads matplotlib-free but slow modules

    options = {**DATA["mnist1d"], **options}
    validation_split, label_noise = options.pop("validation_split"), options.pop("label_noise")
    arguments = get_dataset_args()
    for name, value in options.items():
        setattr(arguments, name, value)
    numpy_state = np.random.get_state()  # the generator seeds the global one
    try:
        raw = make_dataset(arguments)
    finally:
        np.random.set_state(numpy_state)

    x, y = raw["x"].astype(np.float32), raw["y"].astype(np.int32)
    kept = len(y) - round(len(y) * validation_split)
    return classifier(
        Data(
            train={"x": x[:kept], "y": noisy_labels(y[:kept], label_noise, 10, options["seed"])},
            validation={"x": x[kept:], "y": y[kept:]},
            test={"x": raw["x_test"].astype(np.float32), "y": raw["y_test"].astype(np.int32)},
        ),
        classes=10,
        shape=(x.shape[1], 1),
    )
