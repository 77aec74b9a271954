"""What an observer of a run sees after each turn."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxloop.storage.store import Store


@dataclass(frozen=True)
class Progress:
    """What an observer sees after each turn; `seconds` are of training, without compiling."""

    store: Store
    earlier_member_steps: int  # recorded when this process began
    member_steps: int  # by this process
    remaining_member_steps: int
    seconds: float
    program: int
    programs: int
    notes: list[str]  # what the user should know, in order

    @property
    def share_done(self) -> float:
        """Of the run's steps, by this process or earlier ones."""
        done = self.earlier_member_steps + self.member_steps
        return done / max(1, done + self.remaining_member_steps)

    @property
    def member_steps_per_second(self) -> float:
        return self.member_steps / self.seconds if self.seconds > 0 else 0.0


Observer = Callable[[Progress], None]


def tell_phase(observe: Observer, doing: str) -> None:
    """Tell an observer that has a method `phase` what happens before the next turn, such as "compiling"."""
    if phase := getattr(observe, "phase", None):
        phase(doing)
