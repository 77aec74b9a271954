"""Next-symbol prediction on a text file; by default on half a megabyte of English that every CPython carries."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop.core.data import Data, release, taken
from jaxloop.core.task import Task
from jaxloop.models.language import language_model
from jaxloop.sweep.catalog import DATA
from jaxloop.sweep.suggest import not_one_of

BLOCK = 1 << 24  # tokens looked through at a time


def text(**options: Any) -> Task:
    """Predicts each token of a text from those before it in the same window.

    The text's first part is for training, then validation, then test; windows do not overlap, and a trained
    window's first token is only read. A symbol is a token that the text has.

    Args:
      **options: `path` of the file, "" for CPython's `pydoc_data.topics`, the help on Python's language;
        `tokens`, what the file holds: "uint8", bytes, or "uint16", little-endian; `from_disk`, whether training
        windows are read as they are needed, for a file larger than memory; `context`, how many tokens a model sees
        at the most; `validation_split` and `test_split`, shares of all.

    Raises:
      ValueError: there is no such kind of tokens.
    """
    options = {**DATA["text"], **options}
    if options["tokens"] not in ("uint8", "uint16"):
        raise ValueError(f"tokens: {not_one_of(options['tokens'], ('uint8', 'uint16'))}")
    file = Path(options["path"]) if options["path"] else _topics()
    tokens = np.memmap(file, np.dtype(options["tokens"]).newbyteorder("<"), "r")
    symbols = _symbols(tokens)
    windows = Windows(tokens, symbols, options["context"] + 1)
    tested, validated = (round(len(windows) * options[name]) for name in ("test_split", "validation_split"))
    trained = len(windows) - validated - tested
    train = Windows(tokens[: trained * windows.length], symbols, windows.length)
    return language_model(
        Data(
            train=train if options["from_disk"] else train.rows(np.arange(trained)),
            validation=windows.rows(np.arange(trained, trained + validated)),
            test=windows.rows(np.arange(trained + validated, len(windows))),
        ),
        symbols=int(symbols.max()) + 1,
    )


@dataclass(frozen=True)
class Windows:
    """The windows of a text, as a source of examples.

    Attributes:
      tokens: of the text, which may be on disk.
      symbols: the number of each token's symbol, by token.
      length: of a window.
    """

    tokens: np.ndarray
    symbols: np.ndarray
    length: int

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def rows(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return the windows at (N,) indices as {"x": (N, length) int32}."""
        places = indices[:, None] * self.length + np.arange(self.length)
        return {"x": self.symbols[taken(self.tokens, places)]}


def _symbols(tokens: np.ndarray) -> np.ndarray:
    """Return the number of each token's symbol, by token: its place among those that the text has."""
    count = np.zeros(np.iinfo(tokens.dtype).max + 1, np.int64)
    for start in range(0, len(tokens), BLOCK):
        count += np.bincount(tokens[start : start + BLOCK], minlength=len(count))
        release(tokens)
    return np.maximum(np.cumsum(count > 0) - 1, 0).astype(np.int32)


def _topics() -> Path:
    spec = find_spec("pydoc_data.topics")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("this Python has no pydoc_data.topics; give [data] a `path`")
    return Path(spec.origin)
