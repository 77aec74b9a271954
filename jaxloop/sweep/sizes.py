"""Hparams that are more than a number to a program: sizes that may be padded, choices that may be switched."""

import operator
from typing import Any, NamedTuple


class Size(NamedTuple):
    """A size, as one member of a program sees it.

    Attributes:
      value: how much of it this member uses: an int, or a traced int32 where members differ.
      max: what the program's arrays have; the rest is padding, exactly zero.
    """

    value: Any
    max: int

    @property
    def is_padded(self) -> bool:
        """Whether there may be padding: false where value and max are one Python int."""
        return not (isinstance(self.value, int) and self.value == self.max)

    def times(self, factor: int) -> "Size":
        """Return a size so many times as large."""
        return Size(self.value * factor, self.max * factor)


class Choice(NamedTuple):
    """A choice, as one member of a program sees it.

    Attributes:
      index: into `names`: an int, or a traced int32 where members differ.
      names: what the program computes.
    """

    index: Any
    names: tuple[str, ...]


def size(default: int) -> Size:
    """Declare an hparam of a task as a size that may be padded: its functions get a `Size`.

    Members of different sizes share one program: arrays have `size.max`, and `size.value` of them count.

    Args:
      default: 0 or more.

    Raises:
      TypeError, ValueError: it is no integer, or negative.
    """
    try:
        value = operator.index(default)
    except TypeError:
        value = None
    if value is None or isinstance(default, bool):
        raise TypeError(f"jaxloop.size: needs an integer, got {default!r}")
    if value < 0:
        raise ValueError(f"jaxloop.size: needs 0 or more, got {value}")
    return Size(value, value)


def choice(*names: str) -> Choice:
    """Declare an hparam of a task as a choice: its functions get a `Choice`.

    Members of different choices share one program, which computes all of `choice.names` and takes the one at
    `choice.index`.

    Args:
      names: what may be chosen, the default first.

    Raises:
      TypeError, ValueError: a name is missing, repeated, or not a string.
    """
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"jaxloop.choice: needs names, got {wrong[0]!r}")
    if not names:
        raise ValueError("jaxloop.choice: needs at least one name")
    if len(set(names)) < len(names):
        raise ValueError(f"jaxloop.choice: needs names that differ, got {list(names)}")
    return Choice(0, names)


def plain(declared: Any) -> Any:
    """Return what a sweep writes for a declared default: an int for a size, a name for a choice."""
    if isinstance(declared, Size):
        return declared.value
    return declared.names[declared.index] if isinstance(declared, Choice) else declared
