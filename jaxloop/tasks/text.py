"""Next-byte prediction on a text file; by default on half a megabyte of English that every CPython carries."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from jaxloop.core.data import Data
from jaxloop.core.task import Task
from jaxloop.models.language import language_model
from jaxloop.sweep.catalog import DATA


def text(**options: Any) -> Task:
    """Predicts each byte of a text from those before it in the same window.

    The text's first part is for training, then validation, then test; windows do not overlap, and a trained
    window's first byte is only read. A symbol is a byte value that the text has.

    Args:
      **options: `path` of the file, "" for CPython's `pydoc_data.topics`, the help on Python's language;
        `context`, how many bytes a model sees at the most; `validation_split` and `test_split`, shares of all.
    """
    options = {**DATA["text"], **options}
    raw = Path(options["path"]).read_bytes() if options["path"] else _topics()
    values, symbols = np.unique(np.frombuffer(raw, np.uint8), return_inverse=True)
    length = options["context"] + 1
    windows = symbols[: len(symbols) // length * length].reshape(-1, length).astype(np.int32)
    tested, validated = (round(len(windows) * options[name]) for name in ("test_split", "validation_split"))
    trained = len(windows) - validated - tested
    return language_model(
        Data(
            train={"x": windows[:trained]},
            validation={"x": windows[trained : trained + validated]},
            test={"x": windows[trained + validated :]},
        ),
        symbols=len(values),
    )


def _topics() -> bytes:
    spec = find_spec("pydoc_data.topics")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("this Python has no pydoc_data.topics; give [data] a `path`")
    return Path(spec.origin).read_bytes()
