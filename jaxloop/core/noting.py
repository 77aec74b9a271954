"""Hparams that note which of them are read, so that an axis that nothing reads is found."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax


class NotingHparams(dict):
    """Hparams that note which of them are read, in `read`; iterating over them, `{**hparams}` too, reads all."""

    def __init__(self, hparams: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(hparams)
        self.read = read

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.read.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def _all(self, name: str, *args: Any) -> Any:
        self.read.update(dict.keys(self))
        return getattr(super(), name)(*args)

    def __iter__(self) -> Iterator[str]:
        return self._all("__iter__")

    def __or__(self, other: Any) -> Any:
        return NotingHparams(self._plain() | other, self.read)

    def __ror__(self, other: Any) -> Any:
        return self._all("__ror__", other)

    def keys(self) -> Any:
        return self._all("keys")

    def values(self) -> Any:
        return self._all("values")

    def items(self) -> Any:
        return self._all("items")

    def copy(self) -> Any:
        return NotingHparams(self._plain(), self.read)

    def _plain(self) -> dict[str, Any]:
        """Return the same as a plain dict, without reading any."""
        return dict(dict.items(self))


def _flatten(hparams: NotingHparams) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
    names = tuple(sorted(hparams))
    return [(jax.tree_util.DictKey(name), hparams[name]) for name in names], names


def _unflatten(names: tuple[str, ...], values: Any) -> Any:
    return dict(zip(names, values, strict=True))


# a pytree like any dict, for tasks that map over their hparams
jax.tree_util.register_pytree_with_keys(NotingHparams, _flatten, _unflatten)
