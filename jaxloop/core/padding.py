"""Which part of a padded array is a member's own: found from shapes alone, for any task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Shapes = Any  # a pytree of jax.ShapeDtypeStruct


@dataclass(frozen=True)
class Extent:
    """The shape of an array, as a function of the padded sizes it depends on; a leaf in a pytree.

    Attributes:
      shape: with padding.
      slopes: for each axis, by how much it is longer for each one more of a size, by the size's name.
    """

    shape: tuple[int, ...]
    slopes: tuple[dict[str, int], ...]

    def own(self, sizes: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the shape without padding, for one member's sizes (name: `Size`)."""
        return tuple(
            length - sum(slope * (sizes[name].max - sizes[name].value) for name, slope in slopes.items())
            for length, slopes in zip(self.shape, self.slopes, strict=True)
        )


def extents(shapes_of: Callable[[Mapping[str, int]], Shapes], sizes: Mapping[str, int]) -> Any:
    """Return the `Extent` of each parameter array, found by growing each size by one.

    Args:
      shapes_of: the parameters' shapes for sizes' maxima.
      sizes: the padded ones, with their maxima.

    Raises:
      ValueError: an axis is no sum of multiples of sizes, as of two sizes flattened into one axis: a member's own
        part is not its beginning.
    """
    shapes = shapes_of(sizes)
    grown = {name: by_path(shapes_of({**sizes, name: largest + 1})) for name, largest in sizes.items()}
    all_grown = by_path(shapes_of({name: largest + 1 for name, largest in sizes.items()}))

    def of(path: Any, leaf: Any) -> Any:
        slopes = (
            {name: slope for name, found in grown.items() if (slope := found[path].shape[axis] - length)}
            for axis, length in enumerate(leaf.shape)
        )
        extent = Extent(leaf.shape, tuple(slopes))
        for axis, (length, slopes) in enumerate(zip(extent.shape, extent.slopes, strict=True)):
            if all_grown[path].shape[axis] != length + sum(slopes.values()):
                where = f"axis {axis} of params{jax.tree_util.keystr(path)}"
                raise ValueError(f"{where} needs to be an axis for each of {', '.join(slopes)}, to be padded")
        return extent

    return jax.tree_util.tree_map_with_path(of, shapes)


def by_path(tree: Any) -> dict[tuple, Any]:
    """Return the leaves of a tree by their paths."""
    return dict(jax.tree_util.tree_flatten_with_path(tree)[0])


def cropped(tree: Any, own: Shapes) -> Any:
    """Return a member's own part of padded parameters or state: its arrays, without what is beyond its sizes.

    Args:
      own: the shapes of its arrays in a program of its own.
    """
    found = by_path(tree)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: found[path][tuple(slice(length) for length in leaf.shape)], own
    )


def padded(tree: Any, largest: Shapes) -> Any:
    """Return the inverse of `cropped`: a member's own arrays in the first corners of larger ones, zeros beyond."""
    found = by_path(tree)

    def filled(path: Any, leaf: Any) -> Any:
        if path not in found:
            return jnp.zeros(leaf.shape, leaf.dtype)
        beyond = [(0, more - own, 0) for more, own in zip(leaf.shape, found[path].shape, strict=True)]
        return jax.lax.pad(found[path], jnp.zeros((), leaf.dtype), beyond)

    return jax.tree_util.tree_map_with_path(filled, largest)
