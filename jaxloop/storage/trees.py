"""One tree of arrays in one folder, as orbax writes and reads it.

Importing orbax takes half as long as importing JAX, so it is imported only where a tree is written or read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import jax
import numpy as np

from jaxloop.errors import DamagedError

if TYPE_CHECKING:
    import orbax.checkpoint as ocp


def write(folder: Path, tree: Any) -> None:
    """Write a tree of host arrays to a folder; what is there already is replaced."""
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer, _numpy_arrays_written():
        checkpointer.save(folder.absolute(), ocp.args.PyTreeSave(tree), force=True)


def read(folder: Path, like: Any, what: str) -> Any:
    """Return the part of a folder's tree that `like` names, as host arrays in its structure.

    Args:
      like: a tree of arrays or shapes, with the names that are wanted.
      what: the tree's name in the error message.

    Raises:
      DamagedError: orbax does not find it.
    """
    import orbax.checkpoint as ocp

    arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        with _checkpointer() as checkpointer:
            restore = ocp.args.PyTreeRestore(like, arrays, partial_restore=True)
            return checkpointer.restore(folder.absolute(), restore)
    except Exception as error:  # orbax raises many kinds; each means that the folder is not usable
        raise DamagedError(f"{folder}: {what} cannot be restored: {error}") from error


def names(folder: Path, branch: str) -> Collection[str]:
    """Return the names in one branch of a folder's tree.

    Raises:
      DamagedError: orbax does not find them.
    """
    try:
        with _checkpointer() as checkpointer:
            return checkpointer.metadata(folder.absolute()).item_metadata.tree[branch].keys()  # pyright: ignore
    except Exception as error:  # orbax raises many kinds; each means that the folder is not usable
        raise DamagedError(f"{folder}: this checkpoint cannot be restored: {error}") from error


def _checkpointer() -> ocp.Checkpointer:
    """Return a checkpointer for this process alone; with several processes, each writes its own folders."""
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what orbax logs, it raises as well
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(process, {process}, f"process-{process}")
    # to compress took five times as long, on cores that train, for a tenth of the bytes (benchmarks/LOG.md)
    handler = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextmanager
def _numpy_arrays_written() -> Iterator[None]:
    """Have orbax write NumPy arrays in this process, whichever it is.

    orbax 0.12 takes them for copies of the first process's: others write none, and report success.
    """
    from orbax.checkpoint._src.serialization import type_handlers

    seen = SimpleNamespace(**{**vars(type_handlers.multihost), "process_index": lambda: 0})
    with mock.patch.object(type_handlers, "multihost", seen):
        yield
