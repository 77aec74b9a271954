"""A grid of nine learning rates by two seeds, which schedulers cut short."""

from conftest import TINY

import jaxloop
from jaxloop.sweep import sweep

GRID = (
    "run.steps=90",
    "run.evaluate_every=10",
    "checkpoint.every=10",
    "axes.learning_rate={log=[1e-4, 1e0], num=9}",
    'evaluate.metric="validation/loss"',
)


def trained(folder, *overrides, **options):
    """A run of the grid with some keys overridden."""
    return jaxloop.run(sweep.parse(TINY, (*GRID, *overrides)), out=folder, **options)
