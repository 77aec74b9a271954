"""Checkpoints of formats 2 to 5: the state of members as it was laid out then."""

from collections.abc import Collection
from typing import Any

import numpy as np

from jaxloop.core.learner import GradientState
from jaxloop.core.member import TrainState


def is_old(names: Collection[str]) -> bool:
    """Return whether a state of these names is of one of these formats."""
    return "learner" not in names


def as_then(state: TrainState) -> dict[str, Any]:
    """Return a state as those formats saved it; all tasks had a stateless loss."""
    learner = state.learner
    return {
        "params": learner.params,
        "opt_state": learner.opt_state,
        "step": state.step,
        "diverged": state.diverged,
        "average": state.average,
    }


def as_now(saved: dict[str, Any]) -> TrainState:
    """Return the state of (N, ...) host arrays that one of those formats saved."""
    learner = GradientState(saved["params"], saved["opt_state"])
    done: Any = np.zeros(saved["step"].shape, bool)
    return TrainState(learner, saved["step"], saved["diverged"], done, saved["average"])
