"""The maximal update parametrization (Yang, Hu et al. 2022, "Tensor Programs V", arXiv:2203.03466, table 8).

At `base_width` it is the standard parametrization; at other widths initial variances, output multiplier and
learning rates change so that the best learning rate stays where it is. In "standard", every factor is one.
"""

from enum import Enum
from typing import Any

import jax

from jaxloop.core.task import Hparams

BY_GRADIENT = frozenset({"sgd", "optimistic_gradient_descent"})  # updates in proportion to the gradient
UNDEFINED = frozenset({"adafactor", "fromage", "lamb", "lars", "novograd"})  # updates scaled by an array's norm


class Role(Enum):
    """What a parameter array maps: the fixed input or the width, to the width or the fixed output."""

    INPUT = "input"  # biases and norms within the width, too
    HIDDEN = "hidden"
    OUTPUT = "output"
    FIXED = "fixed"  # no width at all: the output's bias


def width_factor(hparams: Hparams) -> Any:
    """Return how many times wider than `base_width` a member is; 1 in the standard parametrization."""
    return hparams["width"].value / hparams["base_width"] if hparams["parametrization"] == "mup" else 1.0


def attenuated(x: jax.Array, hparams: Hparams) -> jax.Array:
    """Return what the output layer reads: in mup `x` over the width's factor."""
    return (x / width_factor(hparams)).astype(x.dtype)


def temperature(hparams: Hparams) -> Any:
    """Return what attention scores are multiplied by: 1 / sqrt(head width), in mup 4 / head width; equal at 16."""
    width = hparams["head_width"].value
    return 4.0 / width if hparams["parametrization"] == "mup" else jax.lax.rsqrt(1.0 * width)


def rate(role: Role, hparams: Hparams) -> Any:
    """Return what the learning rate of an array is multiplied by.

    Raises:
      ValueError: mup is not defined for the member's optimizer.
    """
    factor, optimizer = width_factor(hparams), hparams["optimizer"]
    if optimizer in UNDEFINED and hparams["parametrization"] == "mup":
        raise ValueError(f"mup is not defined for {optimizer}")
    if optimizer in BY_GRADIENT:
        return factor if role in (Role.INPUT, Role.OUTPUT) else 1.0
    return 1.0 / factor if role is Role.HIDDEN and optimizer != "muon" else 1.0
