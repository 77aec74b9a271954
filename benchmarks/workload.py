"""The four workloads of the benchmarks: their sweeps, and the FLOPs of their matmuls."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from workloads.tasks import CHANNELS, CLASSES, CONTEXT, PIXELS, SYMBOLS

import jaxloop
from jaxloop import api
from jaxloop.sweep.sweep import Sweep

FOLDER = Path(__file__).parent / "workloads"


@dataclass(frozen=True)
class Workload:
    """One member's step, counted.

    Attributes:
      forward: FLOPs of its matmuls.
      first: the part of them in the first layer, whose input needs no gradient.
      chunk: steps between two looks, for a call of seconds.
    """

    name: str
    forward: int
    first: int = 0
    chunk: int = 100

    @property
    def flops(self) -> int:
        """Of the matmuls of a member-step: forward, the gradients of weights, and those of inputs."""
        return 3 * self.forward - self.first

    def read(self, members: int, *overrides: str) -> tuple[Sweep, jaxloop.Task]:
        """Its sweep over so many learning rates, checked, and its task."""
        return api.read(FOLDER / f"{self.name}.toml", (f"axes.learning_rate.num={members}", *overrides))


def _mlp(name: str, batch: int, width: int) -> Workload:
    sizes = (40, width, width, CLASSES)
    layers = [2 * batch * inputs * outputs for inputs, outputs in itertools.pairwise(sizes)]
    return Workload(name, sum(layers), layers[0])


def _cnn(batch: int) -> Workload:
    first = 2 * batch * PIXELS**2 * 9 * CHANNELS[0]
    second = 2 * batch * (PIXELS // 2) ** 2 * 9 * CHANNELS[0] * CHANNELS[1]
    out = 2 * batch * (PIXELS // 4) ** 2 * CHANNELS[1] * CLASSES
    return Workload("cnn", first + second + out, first, chunk=20)


def _gpt(batch: int, width: int, depth: int) -> Workload:
    tokens = batch * CONTEXT
    attention = 2 * tokens * (4 * width**2 + 2 * CONTEXT * width)
    block = attention + 2 * tokens * 8 * width**2
    return Workload("gpt", depth * block + 2 * tokens * width * SYMBOLS, chunk=5)


WORKLOADS = {
    workload.name: workload
    for workload in (_mlp("mlp-tiny", 32, 32), _mlp("mlp", 100, 100), _cnn(32), _gpt(8, 64, 2))
}
