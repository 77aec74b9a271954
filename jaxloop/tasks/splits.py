"""What the shipped datasets share."""

import numpy as np

from jaxloop.core.data import Data


def noisy_labels(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """Return a copy in which `share` of the labels, chosen by `seed`, are replaced by another class."""
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(labels))[: round(len(labels) * share)]
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return noisy


def split(arrays: dict[str, np.ndarray], validation: float, test: float) -> Data:
    """Return examples in their order as test, validation and training split, by shares of all."""
    examples = len(next(iter(arrays.values())))
    tested = round(examples * test)
    validated = tested + round(examples * validation)

    def part(first: int, last: int) -> dict[str, np.ndarray]:
        return {name: array[first:last] for name, array in arrays.items()}

    return Data(train=part(validated, examples), validation=part(tested, validated), test=part(0, tested))
