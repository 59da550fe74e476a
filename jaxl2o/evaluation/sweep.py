"""Ablations by vmap: a pure function of one point, run at all points of a grid, in groups, by one compiled call.

    def run(point):                                        # train, evaluate: whatever is pure
        key = jax.random.key(point["seed"])
        ...
        return error

    axes = {"rate": [1e-3, 1e-2, 1e-1], "seed": range(5)}
    found = sweep(run, axes, at_once_for(run, axes, 8 * 2**30))
    found.values                                           # (3, 5, ...), as is every leaf of what `run` returns
    found.at(rate=1e-2).values                             # (5, ...)

Since `training.loop.advance` is pure, so is a whole training, and a grid of trainings costs one compilation.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree, Shaped

from jaxl2o import checks

# name -> the numbers along this axis, each once
Axes = Mapping[str, Iterable]
Label = int | float | np.number
Point = dict[str, Array]
Groups = dict[str, Shaped[np.ndarray, "groups size"]]


class Sweep(NamedTuple):
    """What was found on a grid. axes: name -> labels.  values: arrays, whose leading axes are these in their order."""

    axes: dict[str, np.ndarray]
    values: PyTree

    def at(self, **labels: Label) -> "Sweep":
        """The part at these labels, with the axes that were not named. Raises `ValueError` if the grid has no such label."""
        for name in labels:
            checks.require(name in self.axes, f"there is no axis {name!r}; name one of {list(self.axes)}.")
        place = tuple(_place(name, axis, labels[name]) if name in labels else slice(None) for name, axis in self.axes.items())
        left = {name: axis for name, axis in self.axes.items() if name not in labels}
        return Sweep(left, jax.tree.map(lambda leaf: leaf[place], self.values))


def sweep(run: Callable[[Point], PyTree], axes: Axes, at_once: int) -> Sweep:
    """run(point) at every point of the Cartesian product of the axes; each leaf of the result gets these as leading axes.

    run: a pure function of one number for each axis, all traced. So an axis is whatever `run` computes from a number: a seed,
    a learning rate, a row of a table that it closes over. Randomness is an axis of seeds.
    at_once: how many points may share one `vmap`, and with it the memory. The points are cut into groups of one size, which
    follow one another. Neither this nor the order of the axes changes a point's result, but for rounding.

    Raises `ValueError` for at_once < 1, for no axes, and for an axis that is empty, not of numbers, or has one of them twice.
    """
    axes = _labels(axes)
    groups = _groups(axes, at_once)
    shape = [axis.size for axis in axes.values()]

    def on_grid(leaf: Array) -> np.ndarray:
        flat = np.asarray(leaf).reshape(-1, *leaf.shape[2:])
        return flat[: _size(axes)].reshape(*shape, *flat.shape[1:])

    return Sweep(axes, jax.tree.map(on_grid, _in_groups(run)(groups)))


def memory(run: Callable[[Point], PyTree], axes: Axes, at_once: int) -> int:
    """The bytes that `sweep` needs on its device, its results among them, as the compiler plans them; nothing is run.

    Raises `RuntimeError` where the compiler does not say.
    """
    plan = _in_groups(run).lower(_groups(_labels(axes), at_once)).compile().memory_analysis()
    if plan is None:
        raise RuntimeError(
            f"the compiler for {jax.default_backend()} does not say what memory it needs; choose at_once by hand."
        )
    return plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes - plan.alias_size_in_bytes


def at_once_for(run: Callable[[Point], PyTree], axes: Axes, budget: int) -> int:
    """How many points at once fit into a budget of bytes: at least one, at most all.

    The memory of one point and of four give a straight line, and that of what the line proposes is planned too. As long as it
    is too much, its own line proposes less; so `memory` of the answer is within the budget, unless that of one point is not.
    """
    checks.positive("budget", budget)
    axes = _labels(axes)
    total = _size(axes)
    least = memory(run, axes, 1)

    def proposed(size: int, needed: int) -> int:
        return max(1, min(total, 1 + (budget - least) * (size - 1) // max(needed - least, 1)))

    size = min(4, total)
    size = proposed(size, memory(run, axes, size))
    while size > 1 and (needed := memory(run, axes, size)) > budget:
        size = proposed(size, needed)
    return size


def _labels(axes: Axes) -> dict[str, np.ndarray]:
    """The axes as arrays, after a check."""
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


def _place(name: str, axis: np.ndarray, label: Label) -> int:
    """Where a label is on its axis."""
    found = np.flatnonzero(axis == label)
    checks.require(found.size == 1, f"axis {name!r} has no label {label}; name one of {axis.tolist()}.")
    return int(found[0])


def _size(axes: dict[str, np.ndarray]) -> int:
    """How many points the grid has."""
    return math.prod(axis.size for axis in axes.values())


def _groups(axes: dict[str, np.ndarray], at_once: int) -> Groups:
    """All points, in as few groups as there can be, of one size; the last point is repeated where the size does not divide."""
    checks.require(at_once >= 1, f"at_once is {at_once}; a group needs at least 1 point.")
    total = _size(axes)
    count = -(-total // at_once)
    which = np.minimum(np.arange(count * -(-total // count)), total - 1).reshape(count, -1)
    product = np.meshgrid(*axes.values(), indexing="ij")
    return {name: points.ravel()[which] for name, points in zip(axes, product, strict=True)}


def _in_groups(run: Callable[[Point], PyTree]) -> jax.stages.Wrapped:
    """The one compiled program: one group after another, each vmapped."""
    return jax.jit(lambda groups: lax.map(jax.vmap(run), groups))
