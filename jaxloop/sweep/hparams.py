"""How a declared hparam enters a program, and which hparams a sweep of a task may name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jaxloop.sweep.axes import Axis, listed
from jaxloop.sweep.catalog import (
    BOUNDS,
    CHOICES,
    CLASSIFIER,
    DATA,
    ENGINE,
    LANGUAGE,
    OPTIONAL,
    TASKS,
    TRACED_INTS,
)
from jaxloop.sweep.optimizers import OPTIMIZERS, OWN
from jaxloop.sweep.sizes import Choice, Size, size

KINDS = {  # and what each means for the program
    "traced": "an input of the program: one program serves all values",
    "padded": "a size: the largest sets the shapes, the others are masked",
    "switched": "a choice inside one program: each is computed, one is taken",
    "static": "each value compiles a program of its own",
}


def kind_of(name: str, default: Any) -> str:
    """Return how an hparam of this declared default enters a program: a key of `KINDS`."""
    if isinstance(default, Size | Choice):
        return "padded" if isinstance(default, Size) else "switched"
    return "traced" if isinstance(default, float) or name in TRACED_INTS else "static"


def is_tunable(axis: Axis, default: Any) -> bool:
    """Return whether a member may get any number on this axis while its program stays the same."""
    return (
        isinstance(default, float)
        and axis.kind != "static"
        and all(isinstance(value, int | float) for value in listed(axis))
    )


@dataclass(frozen=True)
class Namespace:
    """All hparams that a sweep of one task may name, as declared.

    Attributes:
      task: the task's own, with their defaults.
      models: its models' own, by the name that its hparam `model` takes; none if it has no such tables.
      optimizer: the one that it brings, and that a sweep uses which names none; None for the engine's default.
      is_read: whether the task is known; if not, it may bring an optimizer.
    """

    task: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    optimizer: str | None = None
    is_read: bool = True

    @property
    def tables(self) -> dict[str, Mapping[str, Mapping[str, Any]]]:
        """For an hparam that names something with hparams of its own: those, by that name."""
        own: dict[str, Mapping[str, Any]] = {OWN: {}} if self.optimizer or not self.is_read else {}
        return {"optimizer": {**OPTIMIZERS, **own}, **({"model": self.models} if self.models else {})}

    @cached_property
    def known(self) -> dict[str, Any]:
        """Every hparam, as declared."""
        tabled = {
            name: value
            for table in self.tables.values()
            for hparams in table.values()
            for name, value in hparams.items()
        }
        return {**ENGINE, **OPTIONAL, "steps": 1, **tabled, **self.task}

    @cached_property
    def floats(self) -> set[str]:
        """The hparams for which an integer in a sweep means a float."""
        return {name for name, value in self.known.items() if isinstance(value, float)}

    def takers(self, name: str) -> tuple[str, set[str]] | None:
        """Return the table that brings an hparam, and whose it is there; None for what every member has."""
        if name in self.task or name in ENGINE or name in OPTIONAL:
            return None
        for chooser, table in self.tables.items():
            if owners := {owner for owner, hparams in table.items() if name in hparams}:
                return chooser, owners
        return None

    def defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a member has that its sweep does not say: its own optimizer's and model's, no other's."""
        found = {**ENGINE, **({"optimizer": self.optimizer} if self.optimizer else {}), **self.task}
        for chooser, table in self.tables.items():
            found |= table[given.get(chooser, found[chooser])]
        return found

    def choices(self, name: str) -> tuple[str, ...] | None:
        """Return what an hparam may be, where that is a list of names."""
        default = self.known.get(name)
        if isinstance(default, Choice):
            return default.names
        if self._is_users(name):
            return None
        return tuple(self.tables[name]) if name in self.tables else CHOICES.get(name)

    def bounds(self, name: str) -> tuple[float | None, float | None]:
        """Return the inclusive bounds of an hparam, low and high; None is open."""
        return (None, None) if self._is_users(name) else BOUNDS.get(name, (None, None))

    def _is_users(self, name: str) -> bool:
        """Return whether the name is a user's own, and means what they say."""
        return name in self.task and name not in {**CLASSIFIER, **LANGUAGE}


UNREAD = Namespace(is_read=False)  # of a user's task whose file has not been read


def namespace(task: str, data: Mapping[str, Any]) -> Namespace:
    """Return the namespace of a task that ships, with these options of its dataset."""
    hparams, models = TASKS[task]
    if task == "modular_addition":  # full batches
        options = {**DATA[task], **data}
        if all(isinstance(options[name], int | float) for name in ("p", "train_fraction")):
            pairs = options["p"] ** 2
            held_out = 2 * round(pairs * (1 - options["train_fraction"]) / 2)
            hparams = {**hparams, "batch_size": size(max(1, pairs - held_out))}
    return Namespace(hparams, models)
