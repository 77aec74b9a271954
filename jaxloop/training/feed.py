"""Reads what a program's members see in their next chunk from a source that memory does not hold.

Which examples a member sees is a function of its seed and step. So they are known in advance, and members of equal
seeds share them: they are read once for each distinct seed, while devices compute the chunk before.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxloop.core.data import Source
from jaxloop.core.member import DRAWN_BY, FEED_ROW, FEED_START, examples_of
from jaxloop.core.population import SHARED
from jaxloop.core.program import CompiledProgram, rounded_up_rows
from jaxloop.core.shapes import data_shapes, feed_layout
from jaxloop.core.task import Task
from jaxloop.errors import ResourceError, told
from jaxloop.sweep.sweep import Sweep

SAVED = "what was saved is whole: `jaxloop resume RUN` goes on from there"


class Row(NamedTuple):
    """What batches follow from: the traced hparams that decide them, by name, and the first step."""

    hparams: tuple[tuple[str, int], ...]
    start: int


class Feed:
    """The data of a program's chunks, as its members go on; without a source they are the same for all chunks.

    Args:
      resident: what `program.shared` put on the devices.
    """

    def __init__(self, sweep: Sweep, task: Task, program: CompiledProgram, resident: Any) -> None:
        self.sweep, self.task, self.program, self.resident = sweep, task, program, resident
        self.coming: dict[Row, Future[dict[str, np.ndarray]]] = {}

    def chunk(
        self, columns: dict[str, np.ndarray], steps: np.ndarray, seated: np.ndarray
    ) -> tuple[dict[str, np.ndarray], Any]:
        """Return the columns that say where each slot finds its batches, and the data that hold them.

        Args:
          columns: the slots' own, (M,) each.
          steps: (M,) that their members have taken.
          seated: indices of the slots in which a member sits.
        """
        source = self.task.data.source
        if source is None:
            return {}, self.resident
        rows = {slot: self._row(columns, slot, int(steps[slot])) for slot in seated.tolist()}
        distinct = list(dict.fromkeys(rows.values()))
        for row in self.coming.keys() - set(distinct):  # of members that have left
            self.coming.pop(row).cancel()
        self._read(source, distinct)
        read = [self.coming.pop(row).result() for row in distinct]
        self._make_room(len(distinct))
        train = self._placed(read)
        at = {row: number for number, row in enumerate(distinct)}
        places, starts = np.zeros(len(steps), np.int32), np.zeros(len(steps), np.int32)
        for slot, row in rows.items():
            places[slot], starts[slot] = at[row], row.start
        after = {slot: Row(row.hparams, row.start + self._layout.steps) for slot, row in rows.items()}
        self._read(source, [row for slot, row in after.items() if row.start < columns["steps"][slot]])
        return {FEED_ROW: places, FEED_START: starts}, {**self.resident, "train": train}

    def close(self) -> None:
        """Stop reading; what is being read at the moment is waited for."""
        if "_reader" in vars(self):
            self._reader.shutdown(cancel_futures=True)

    @cached_property
    def _layout(self) -> Any:
        return feed_layout(self.sweep, self.task, self.program.bucket)

    @cached_property
    def _shapes(self) -> dict[str, Any]:
        """The arrays of the training split, as shapes; their first axis is another after more room was made."""
        return data_shapes(self.sweep, self.task, self.program.bucket, self.program.feed_rows)["train"]

    @cached_property
    def _reader(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "jaxloop-feed")

    def _row(self, columns: dict[str, np.ndarray], slot: int, step: int) -> Row:
        return Row(tuple((name, int(columns[name][slot])) for name in DRAWN_BY if name in columns), step)

    def _read(self, source: Source, rows: Iterable[Row]) -> None:
        """Begin to read rows that are not on their way yet."""
        for row in rows:
            if row not in self.coming:
                self.coming[row] = self._reader.submit(self._batches, source, row)

    def _batches(self, source: Source, row: Row) -> dict[str, np.ndarray]:
        """Return the examples of one row: its batches, one after the other."""
        drawn = np.asarray(self._drawn(dict(row.hparams), row.start), np.int64).ravel()
        try:
            found = {name: np.asarray(array) for name, array in source.rows(drawn).items()}
        except Exception as error:  # the user's code, or the disk
            raise ResourceError(f"data.train.rows: {told(error)}; {SAVED}") from error
        wanted = {name: (len(drawn), *shape.shape[1:]) for name, shape in self._shapes.items()}
        if wanted != (got := {name: array.shape for name, array in found.items()}):
            raise ResourceError(f"data.train.rows: needs to return arrays of shapes {wanted}, got {got}; {SAVED}")
        for name, shape in self._shapes.items():
            if not np.can_cast(found[name].dtype, shape.dtype, "same_kind"):
                rule = f"needs {name!r} as {shape.dtype}, as it was, got {found[name].dtype}"
                raise ResourceError(f"data.train.rows: {rule}; {SAVED}")
        return found

    @cached_property
    def _drawn(self) -> Any:
        """The examples of a row as a function of its hparams and first step, computed on the host's CPU."""
        bucket, count = self.program.bucket, self.task.data.train_length() or 0
        layout = self._layout
        defaults = {name: np.zeros((), dtype) for name, dtype in bucket.traced.items()}

        @jax.jit
        def drawn(hparams: dict[str, jax.Array], start: jax.Array) -> jax.Array:
            member_hparams = bucket.hparams({**defaults, **hparams})
            steps = start + jnp.arange(layout.steps)
            found = jax.vmap(lambda step: examples_of(member_hparams, step, count))(steps)
            return jnp.pad(found, ((0, 0), (0, layout.batch_size - found.shape[1])))

        def on_host(hparams: dict[str, int], start: int) -> np.ndarray:
            with jax.default_device(self._host):
                own = {name: np.asarray(value, bucket.traced[name]) for name, value in hparams.items()}
                return np.asarray(drawn(own, np.int32(start)))

        return on_host

    @cached_property
    def _host(self) -> Any:
        """A CPU beside the devices that train; one of these, where JAX was told to start no CPU."""
        try:
            return jax.local_devices(backend="cpu")[0]
        except RuntimeError:
            return jax.local_devices()[0]

    def _make_room(self, rows: int) -> None:
        """Compile the program anew where more rows are needed than it has room for."""
        if rows > self.program.feed_rows:
            self.program = self.program.recompiled(rounded_up_rows(rows))

    def _placed(self, read: list[dict[str, np.ndarray]]) -> dict[str, jax.Array]:
        """Return rows one behind the other on the devices; zeros where there is room for more."""
        found = {}
        examples = self._layout.steps * self._layout.batch_size
        for name, shape in self._shapes.items():
            padded = np.zeros((self.program.feed_rows * examples, *shape.shape[1:]), shape.dtype)
            for number, arrays in enumerate(read):
                padded[number * examples : (number + 1) * examples] = arrays[name].astype(
                    shape.dtype, casting="same_kind"
                )
            found[name] = padded
        return jax.device_put(found, NamedSharding(self.program.mesh, SHARED))
