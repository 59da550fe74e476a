"""The grid of a sweep: axes of labels, and their Cartesian product as points in a row, cut into groups."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Shaped

from jaxl2o import checks

# name -> the numbers along this axis, each once
Axes = Mapping[str, Iterable[Any]]
Labels = dict[str, np.ndarray]
Label = int | float | np.number
Point = dict[str, Array]
Group = dict[str, Shaped[np.ndarray, " size"]]


def labels_of(axes: Axes) -> Labels:
    """The axes as arrays.

    Raises `ValueError` for no axes, and for an axis that is empty, not of numbers, or has one of them twice.
    """
    checks.require(len(axes) > 0, "the grid has no axes; give it at least one, such as a seed.")
    arrays = {name: np.asarray(list(labels)) for name, labels in axes.items()}
    for name, axis in arrays.items():
        checks.require(axis.size > 0, f"axis {name!r} is empty; give it at least one number.")
        checks.require(
            axis.ndim == 1 and axis.dtype.kind in "biuf", f"axis {name!r} is {axis.tolist()}; it must be a list of numbers."
        )
        held = axis.astype(jax.dtypes.canonicalize_dtype(axis.dtype))
        checks.require(
            axis.dtype.kind == "f" or np.array_equal(held, axis),
            f"axis {name!r} is {axis.tolist()}, which {held.dtype} cannot hold; give smaller numbers.",
        )
        checks.require(np.unique(axis).size == axis.size, f"axis {name!r} is {axis.tolist()}; give each number only once.")
    return arrays


def place_of(name: str, axis: np.ndarray, label: Label) -> int:
    """Where a label is on its axis. Raises `ValueError` if it is not there."""
    found = np.flatnonzero(axis == label)
    checks.require(found.size == 1, f"axis {name!r} has no label {label}; name one of {axis.tolist()}.")
    return int(found[0])


def shape_of(labels: Labels) -> tuple[int, ...]:
    """The lengths of the axes."""
    return tuple(axis.size for axis in labels.values())


def group_size(total: int, at_once: int, devices: int) -> int:
    """How many points a group has: the groups are as few as there can be, of one size, in equal shares for the devices.

    at_once: the most points of a group that one device may have. Raises `ValueError` if that is less than one.
    """
    checks.require(at_once >= 1, f"at_once is {at_once}; a group needs at least 1 point.")
    groups = math.ceil(total / (at_once * devices))
    return devices * math.ceil(total / (groups * devices))


def group(labels: Labels, first: int, size: int) -> Group:
    """So many points from the first-th on, the last axis running fastest; behind the last point it is repeated."""
    shape = shape_of(labels)
    which = np.minimum(first + np.arange(size), math.prod(shape) - 1)
    places = np.unravel_index(which, shape)
    return {name: axis[place] for (name, axis), place in zip(labels.items(), places, strict=True)}
