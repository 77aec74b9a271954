"""The data that members train and are measured on: splits of examples, and arrays that all batches share."""

import hashlib
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import jax.numpy as jnp
import numpy as np

SPLITS = ("train", "validation", "test")
SPREAD = 1024  # rows of a source that stand for all
BLOCK = 1024  # rows read at a time: the system brings 64 KiB around each


class Source(Protocol):
    """Examples that are read as they are needed, since they are more than memory holds."""

    def __len__(self) -> int:
        """Return how many examples there are."""
        ...

    def rows(self, indices: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return the examples at (N,) int64 indices, as arrays whose first axis has N of them."""
        ...


@dataclass(frozen=True)
class FromDisk:
    """A `Source` of arrays that stay on disk, such as `np.load(path, mmap_mode="r")` or `np.memmap` gives."""

    arrays: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def rows(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return some examples of every array; each is read once, in the order that it has on disk."""
        unique, places = np.unique(indices, return_inverse=True)
        return {name: taken(array, unique)[places] for name, array in self.arrays.items()}


def taken(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return rows of an array that may be memory-mapped; what is read of the file does not stay in memory."""
    found = np.empty((*indices.shape, *array.shape[1:]), array.dtype)
    for start in range(0, len(indices), BLOCK):
        found[start : start + BLOCK] = array[indices[start : start + BLOCK]]
        release(array)
    return found


def release(array: np.ndarray) -> None:
    """Give a file's pages back to the system, which may keep them cached, but no longer as the process's own."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and not array.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):  # changes are kept there
        base.madvise(mmap.MADV_DONTNEED)


def from_disk(arrays: Mapping[str, np.ndarray]) -> FromDisk:
    """Return arrays as a training split that is read from disk as it is needed.

    Args:
      arrays: each (examples, ...); memory-mapped ones stay on disk.

    Raises:
      TypeError, ValueError: they are not arrays of one length.
    """
    return FromDisk(_split("from_disk", arrays))


@dataclass(frozen=True)
class Data:
    """What a task trains and is measured on: splits, each a dict of arrays whose first axis is the examples.

    Every member sees the same resident arrays; a batch is the same dict with `batch_size` examples. Anything that
    NumPy converts to an array of numbers, such as a list, is accepted; 64 bits become 32. A task that makes its
    own data, such as an environment, omits all fields.

    Attributes:
      train: batches are drawn from it: arrays, or a `Source` of more than memory holds (`jaxloop.from_disk`).
      validation: measured every `evaluate_every` steps.
      test: measured once, as a member ends.
      others: further splits by name, measured as `validation` is: "ood" gives "ood/accuracy".
      shared: arrays without an axis of examples, such as a graph or pretrained weights: whole in each batch.

    Raises:
      TypeError: a split is no dict, or one of its values no array of numbers.
      ValueError: arrays of one split differ in length, a split is empty, or a name is taken.
    """

    train: Mapping[str, np.ndarray] | Source | None = None
    validation: Mapping[str, np.ndarray] | None = None
    test: Mapping[str, np.ndarray] | None = None
    others: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    shared: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        others = {name: _split(f"data.others[{name!r}]", split) for name, split in self.others.items()}
        shared = {name: _array(f"data.shared[{name!r}]", array, least=0) for name, array in self.shared.items()}
        for name in SPLITS:
            split = getattr(self, name)
            if name == "train" and _is_source(split):
                _split("data.train.rows", split.rows(np.arange(min(2, len(split)))))
            elif split is not None:
                # the one way to set a field of a frozen dataclass
                object.__setattr__(self, name, _split(f"data.{name}", split))
        object.__setattr__(self, "others", others)
        object.__setattr__(self, "shared", shared)
        if taken := sorted(
            name for name in others if name in (*SPLITS, "shared", "ema") or not name.isidentifier()
        ):
            raise ValueError(f"data.others: a split cannot be named {taken[0]!r}")
        for name, split in self.samples().items():
            if clash := split.keys() & shared.keys():
                raise ValueError(f"data.shared: {sorted(clash)[0]!r} is an array of data.{name}, too")

    @property
    def source(self) -> Source | None:
        """What the training examples are read from as they are needed; None where they are in memory."""
        return cast(Source, self.train) if _is_source(self.train) else None

    def splits(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the splits that are in memory, by name."""
        named = {**{name: getattr(self, name) for name in SPLITS}, **self.others}
        return {name: dict(split) for name, split in named.items() if split is not None and not _is_source(split)}

    def samples(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the splits by name; of a source, at most `SPREAD` examples that are spread evenly over it."""
        if self.source is None:
            return self.splits()
        spread = spread_over(len(self.source))
        return {"train": {name: np.asarray(x) for name, x in self.source.rows(spread).items()}, **self.splits()}

    def train_length(self) -> int | None:
        """Return how many training examples there are; None for a task that has none."""
        if self.source is not None:
            return len(self.source)
        return None if self.train is None else len(next(iter(self.splits()["train"].values())))

    def evaluated(self) -> list[str]:
        """Return the names of the splits that members are measured on after each turn."""
        return [name for name in self.splits() if name not in ("train", "test")]

    def fingerprint(self) -> str:
        """Return a hash of the content: names, dtypes, shapes and bytes of every array.

        Of a source, the length and the examples of `samples` count.
        """
        digest = hashlib.sha256(b"" if self.source is None else f"{len(self.source)}\n".encode())
        for split, arrays in {**self.samples(), "shared": dict(self.shared)}.items():
            for name, array in sorted(arrays.items()):
                array = np.ascontiguousarray(array)
                digest.update(f"{split}/{name} {array.dtype} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]


def spread_over(count: int) -> np.ndarray:
    """Return the indices of at most `SPREAD` of so many examples, spread evenly."""
    return np.unique(np.linspace(0, count - 1, SPREAD).astype(np.int64))


def _is_source(split: Any) -> bool:
    return hasattr(split, "rows") and hasattr(split, "__len__")


def _split(where: str, split: Any) -> dict[str, np.ndarray]:
    """Return a split whose arrays have as many examples each.

    Raises:
      TypeError, ValueError: it is no such split.
    """
    if not isinstance(split, Mapping):
        source = ", or a source with `len` and `rows(indices)`" if where == "data.train" else ""
        got = f"got a {type(split).__name__}"
        raise TypeError(f"{where}: needs a dict of arrays, such as {{'x': x, 'y': y}}{source}, {got}")
    arrays = {key: _array(f"{where}[{key!r}]", value) for key, value in split.items()}
    lengths = {key: len(array) for key, array in arrays.items()}
    if not lengths or min(lengths.values()) == 0 or len(set(lengths.values())) > 1:
        raise ValueError(f"{where}: arrays need one common, non-empty first axis, got {lengths}")
    return arrays


def padded(sequences: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of different lengths as one array, zeros behind the shorter ones, and their lengths.

    Args:
      sequences: N arrays whose first axes differ in length alone.

    Returns:
      (N, longest, ...), of the dtype of the sequences; (N,) int32.

    Raises:
      ValueError: there are none, or they differ in more than their lengths.
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    rests = sorted({array.shape[1:] for array in arrays if array.ndim})
    if len(rests) != 1 or not all(array.ndim for array in arrays):
        raise ValueError(f"padded: needs sequences that differ in length alone, got elements of shapes {rests}")
    lengths = np.array([len(array) for array in arrays], np.int32)
    whole = np.zeros((len(arrays), lengths.max(), *rests[0]), np.result_type(*arrays))
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole, lengths


def _array(where: str, value: Any, least: int = 1) -> Any:
    """Return a value of the data as an array of numbers.

    Args:
      where: its name in messages.
      value: what the task gives.
      least: how many axes it needs to have.

    Raises:
      TypeError: it is something else.
    """
    rule = f"{where}: needs an array of numbers{' whose first axis is the examples' if least else ''}, got"
    if not (hasattr(value, "__array__") or isinstance(value, list | tuple)):
        raise TypeError(f"{rule} a {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # rows of different lengths
        ragged = "; sequences of different lengths become one array by jaxloop.padded"
        raise TypeError(f"{rule} a {type(value).__name__} that NumPy makes no array of: {error}{ragged}") from None
    if array.ndim < least or not (jnp.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        kind = f"array of {array.dtype}" if array.ndim else "single value"
        raise TypeError(f"{rule} {'an' if array.ndim else 'a'} {kind}")
    return array
