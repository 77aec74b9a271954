"""Members that have begun and have no slot: paused, or restored from a checkpoint and not yet in a slot."""

from collections.abc import Sequence

from jaxloop.storage.snapshot import Snapshot, concatenated


class Parked:
    """Members and their states; a member taken out again continues with the same bits."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._hold(snapshot)

    def _hold(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot
        self._rows = {number: row for row, number in enumerate(snapshot.members.tolist())} if snapshot else {}

    @property
    def members(self) -> list[int]:
        return list(self._rows)

    def steps(self) -> dict[int, int]:
        """Return the steps that each has taken, by number."""
        if self._snapshot is None:
            return {}
        return {number: int(self._snapshot.state.step[row]) for number, row in self._rows.items()}

    def add(self, snapshot: Snapshot) -> None:
        self._hold(concatenated([part for part in (self.snapshot(), snapshot) if part]))

    def take(self, members: Sequence[int]) -> Snapshot:
        """Remove these members and return their states.

        Raises:
          KeyError: one of them is not here.
        """
        if self._snapshot is None:
            raise KeyError(*members)
        taken = self._snapshot.rows([self._rows.pop(number) for number in members])
        if not self._rows:
            self._snapshot = None
        return taken

    def snapshot(self) -> Snapshot | None:
        """Return all members that are held; None if there are none."""
        return self._snapshot.rows(list(self._rows.values())) if self._snapshot else None
