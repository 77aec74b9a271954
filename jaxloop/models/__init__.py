"""Models that ship, as flax NNX modules behind pure functions of one member."""

from jaxloop.models.classifier import classifier
from jaxloop.models.mlp import MLP, Linear

__all__ = ["MLP", "Linear", "classifier"]
