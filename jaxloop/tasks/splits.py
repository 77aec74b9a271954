"""What the shipped datasets share."""

import numpy as np


def noisy_labels(labels: np.ndarray, share: float, classes: int, seed: int) -> np.ndarray:
    """A copy in which `share` of the labels, chosen by `seed`, are replaced by another class."""
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(len(labels))[: round(len(labels) * share)]
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + generator.integers(1, classes, len(chosen))) % classes
    return noisy
