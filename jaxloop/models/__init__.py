"""Models that ship, as flax NNX modules behind pure functions of one member."""

from jaxloop.models.layers import GRU, Attention, Conv, Dense, Embedding, Norm, activate, drawn, dropout
from jaxloop.models.network import DECODERS, READERS, Network, network
from jaxloop.models.products import conv_general_dilated
from jaxloop.models.supervised import classifier, regressor

__all__ = [
    "DECODERS",
    "GRU",
    "READERS",
    "Attention",
    "Conv",
    "Dense",
    "Embedding",
    "Network",
    "Norm",
    "activate",
    "classifier",
    "conv_general_dilated",
    "drawn",
    "dropout",
    "network",
    "regressor",
]
