"""Ablations by vmap: a pure function of one point, run at all points of a grid, in groups, by one compiled program.

    def run(point):                                        # train, evaluate: whatever is pure
        key = jax.random.key(point["seed"])
        ...
        return error

    axes = {"rate": [1e-3, 1e-2, 1e-1], "seed": range(5)}
    found = sweep(run, axes, at_once_for(run, axes, 8 * 2**30))
    found.values                                           # (3, 5, ...), as is every leaf of what `run` returns
    found.at(rate=1e-2).values                             # (5, ...)

Since `training.loop.advance` is pure, so is a whole training, and a grid of trainings costs one compilation. How many points
fit into memory is in `memory.py`, and a sweep that outlasts its process in `sweep_on_disk.py`.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxl2o import checks
from jaxl2o.evaluation.grid import Axes, Label, Labels, Point, group, group_size, labels_of, place_of, shape_of
from jaxl2o.training.parallel import on_shares
from jaxl2o.types import PyTree


class Sweep(NamedTuple):
    """What was found on a grid. axes: name -> labels.  values: arrays, whose leading axes are these in their order."""

    axes: Labels
    values: PyTree

    def at(self, **labels: Label) -> "Sweep":
        """The part at these labels, with the axes that were not named. Raises `ValueError` if the grid has no such label."""
        for name in labels:
            checks.require(name in self.axes, f"there is no axis {name!r}; name one of {list(self.axes)}.")
        place = tuple(place_of(name, axis, labels[name]) if name in labels else slice(None) for name, axis in self.axes.items())
        left = {name: axis for name, axis in self.axes.items() if name not in labels}
        return Sweep(left, jax.tree.map(lambda leaf: leaf[place], self.values))


class Part(NamedTuple):
    """The points from the first-th on: what was found at them, each leaf with an axis of points in front."""

    first: int
    values: PyTree


def sweep(run: Callable[[Point], PyTree], axes: Axes, at_once: int, devices: int = 1) -> Sweep:
    """run(point) at every point of the Cartesian product of the axes; each leaf of the result gets these as leading axes.

    run: a pure function of one number for each axis, all traced. So an axis is whatever `run` computes from a number: a seed,
    a learning rate, a row of a table that it closes over. Randomness is an axis of seeds.
    at_once: how many points may share one `vmap` on a device, and with it its memory. The points are cut into groups of one
    size, which follow one another; a device holds the results of one group, and the caller's memory those of all.
    devices: local devices, among which the points of a group are shared.
    Neither these nor the order of the axes change a point's result, but for rounding.

    Raises `ValueError` for at_once < 1, for fewer devices than asked for, for no axes, and for an axis that is empty, not of
    numbers, or has one of them twice.
    """
    labels = labels_of(axes)
    return joined(labels, parts(run, labels, at_once, devices, [range(math.prod(shape_of(labels)))]))


def program(run: Callable[[Point], PyTree], devices: int) -> jax.stages.Wrapped:
    """The one compiled program: a group's points, shared among the devices, each share vmapped."""
    return jax.jit(on_shares(jax.vmap(run), devices))


def parts(run: Callable[[Point], PyTree], labels: Labels, at_once: int, devices: int, gaps: Iterable[range]) -> Iterator[Part]:
    """One group after another, of the points in the gaps; all have the size of the grid's groups, cut where a gap ends."""
    answer = program(run, devices)
    size = group_size(math.prod(shape_of(labels)), at_once, devices)
    for gap in gaps:
        for first in gap[::size]:
            found = jax.tree.map(np.asarray, answer(group(labels, first, size)))
            yield Part(first, jax.tree.map(lambda leaf, left=gap.stop - first: leaf[:left], found))


def joined(labels: Labels, parts: Iterable[Part]) -> Sweep:
    """The sweep of which these are all parts, in any order; besides the whole, one part at a time is held."""
    shape, whole, treedef = shape_of(labels), [], None
    for first, values in parts:
        leaves, treedef = jax.tree.flatten(values)
        whole = whole or [np.empty((math.prod(shape), *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        for every, some in zip(whole, leaves, strict=True):
            every[first : first + len(some)] = some
    assert treedef is not None
    return Sweep(labels, jax.tree.unflatten(treedef, [leaf.reshape(*shape, *leaf.shape[1:]) for leaf in whole]))
