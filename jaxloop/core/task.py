"""What a user brings: pure functions of ONE member, and the data they train on."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Params = Any
Batch = dict[str, jax.Array]
Hparams = Mapping[str, Any]
Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Data:
    """Three splits, each a dict of arrays that share their first axis, the examples.

    Every member sees the same resident arrays; a batch is the same dict with `batch_size` examples. What NumPy
    makes an array of numbers of, such as a list, becomes one.

    Raises:
      TypeError: a split is no dict, or one of its values no array of numbers.
      ValueError: arrays of one split differ in length, or a split is empty.
    """

    train: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if not isinstance(split, Mapping):
                kind = type(split).__name__
                raise TypeError(f"data.{name}: needs a dict of arrays, such as {{'x': x, 'y': y}}, got a {kind}")
            arrays = {key: _array(f"data.{name}[{key!r}]", value) for key, value in split.items()}
            object.__setattr__(self, name, arrays)  # the one way to set a field of a frozen dataclass
        for name, split in self.splits().items():
            lengths = {key: len(array) for key, array in split.items()}
            if not lengths or min(lengths.values()) == 0 or len(set(lengths.values())) > 1:
                raise ValueError(f"data.{name}: arrays need one common, non-empty first axis, got {lengths}")

    def splits(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the splits by name."""
        return {"train": dict(self.train), "validation": dict(self.validation), "test": dict(self.test)}

    def fingerprint(self) -> str:
        """Return a hash of the content: names, dtypes, shapes and bytes of every array."""
        digest = hashlib.sha256()
        for split, arrays in self.splits().items():
            for name, array in sorted(arrays.items()):
                array = np.ascontiguousarray(array)
                digest.update(f"{split}/{name} {array.dtype} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]


def _array(where: str, value: Any) -> Any:
    """Return examples as an array of numbers.

    Raises:
      TypeError: they are something else.
    """
    rule = f"{where}: needs an array of numbers whose first axis is the examples, got"
    if not (hasattr(value, "__array__") or isinstance(value, list | tuple)):
        raise TypeError(f"{rule} a {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise TypeError(f"{rule} a {type(value).__name__} that NumPy makes no array of: {error}") from None
    if array.ndim == 0 or not (jnp.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        kind = f"array of {array.dtype}" if array.ndim else "single value"
        raise TypeError(f"{rule} {'an' if array.ndim else 'a'} {kind}")
    return array


def _plain(value: Any) -> Any:
    """Return an hparam's default; a scalar of NumPy or JAX as the Python number that it is."""
    is_scalar = hasattr(value, "item") and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


def _plain_values(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in table.items()}


def _matrices_and_larger(params: Params, hparams: Hparams) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def _matrices(params: Params, hparams: Hparams) -> Any:
    return jax.tree.map(lambda leaf: int(leaf.ndim == 2), params)


@dataclass(frozen=True)
class Task:
    """A training problem, written for one member; it never sees the population axis.

    Attributes:
      init: `(key, hparams) -> params`, any pytree of float arrays.
      loss: `(params, batch, key, hparams) -> (scalar, {metric: scalar})`.
      metrics: `(params, batch, hparams) -> {metric: scalar}`, means over the batch; averaged over a split.
      report: `({name: mean}, hparams) -> {metric: scalar}`: metrics of a split that are not means over its
        examples, such as F1 or perplexity, computed from means that are. `metrics` may then give arrays, such as
        the shares of a confusion matrix. None: `metrics` gives them all.
      data: the three splits.
      hparams: defaults by name. A float is traced, a `jaxloop.size` padded, a `jaxloop.choice` switched:
        members may differ in it within one program. Any other int, bool or str is static: members that differ
        in it need programs of their own. A loss that weighs its examples by `batch["weight"]`, (batch_size,)
        float32 of 1 for an example and 0 for padding, declares its `batch_size` as a size.
      models: further hparams, by the value of the hparam `model` that brings them.
      learning_rate_multipliers: `(params, hparams) -> pytree of scalars`, one for each array, that multiply its
        update; None for no multipliers.
      decay_mask: `(params, hparams) -> pytree of bools`: which arrays decay where the hparam `weight_decay_on` is
        "weights"; by default those with two axes or more, so neither biases nor norms.
      hidden: `(params, hparams) -> pytree of ints`: how many leading axes a hidden matrix sums over; 0 for all
        other arrays. muon orthogonalizes hidden matrices; by default all arrays with two axes.
    """

    init: Callable[[jax.Array, Hparams], Params]
    loss: Callable[[Params, Batch, jax.Array, Hparams], tuple[jax.Array, Metrics]]
    metrics: Callable[[Params, Batch, Hparams], Metrics]
    data: Data
    hparams: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learning_rate_multipliers: Callable[[Params, Hparams], Any] = lambda params, hparams: None
    decay_mask: Callable[[Params, Hparams], Any] = _matrices_and_larger
    hidden: Callable[[Params, Hparams], Any] = _matrices
    report: Callable[[Metrics, Hparams], Metrics] | None = None
    # what `core.shapes` has traced: it refers to the task, and is kept here so that both are freed together
    traced: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        models = {model: _plain_values(table) for model, table in self.models.items()}
        object.__setattr__(self, "hparams", _plain_values(self.hparams))
        object.__setattr__(self, "models", models)
