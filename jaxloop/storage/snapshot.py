"""What is saved of members: in the middle of their training, and at its end. Values; `checkpoints` writes them."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxloop.core.finals import Final
from jaxloop.errors import DamagedError


class Snapshot(NamedTuple):
    """Members in the middle of their training: what it takes to go on with them, in whatever slots.

    members: (N,) int32 numbers.
    state: of (N, ...) host arrays.
    """

    members: np.ndarray
    state: Any

    def rows(self, index: Any) -> "Snapshot":
        """Return some of them, by whatever indexes the first axis of an array."""
        return Snapshot(self.members[index], jax.tree.map(lambda leaf: leaf[index], self.state))


def concatenated(parts: list[Snapshot]) -> Snapshot | None:
    """Return the members of all parts; None if there are none."""
    if len(parts) < 2:  # to copy them takes seconds of a large population
        return parts[0] if parts else None
    states = [part.state for part in parts]
    return Snapshot(
        np.concatenate([part.members for part in parts]),
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *states),
    )


class Finals(NamedTuple):
    """What members that retire together end with.

    members: (N,) int32 numbers.
    trees: of each kind the task's own structure, of (N, ...) host arrays.
    """

    members: np.ndarray
    trees: dict[Final, Any]


def check_members(snapshot: Snapshot | None, wanted: dict[int, int], what: str) -> None:
    """Make sure that a checkpoint holds the right members, at the right steps.

    Raises:
      DamagedError: they differ.
    """
    found = steps_of(snapshot.members, snapshot.state.step) if snapshot else {}
    if found != wanted:
        raise DamagedError(f"{what}: the checkpoint holds members at steps {found}, the store says {wanted}")


def steps_of(members: np.ndarray, steps: np.ndarray) -> dict[int, int]:
    """Return steps by member number, in order."""
    return dict(sorted(zip(members.tolist(), steps.tolist(), strict=True)))
