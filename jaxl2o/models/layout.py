"""A Layout names the slices of the residual stream; the matrices of a theorem are written by these names."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import ScalarLike


@dataclass(frozen=True)
class Layout:
    """Named slots of a vector, in order: Layout((("x", 5), ("y", 1)))."""

    slots: tuple[tuple[str, int], ...]

    @property
    def width(self) -> int:
        """The length of the vector: D."""
        return sum(size for _, size in self.slots)

    def slice(self, name: str) -> slice:
        """Where a slot stands. Raises `ValueError` for a name that the layout lacks."""
        start = 0
        for slot, size in self.slots:
            if slot == name:
                return slice(start, start + size)
            start += size
        names = ", ".join(slot for slot, _ in self.slots)
        raise checks.InputError(f"the layout has no slot {name!r}; its slots are {names}.")

    def vector(self, **values: Float[Array, " _"] | ScalarLike) -> Float[Array, " D"]:
        """A vector with these slots filled and the others zero."""
        row = jnp.zeros(self.width)
        for name, value in values.items():
            at = self.slice(name)
            row = lax.dynamic_update_slice(row, jnp.broadcast_to(value, at.stop - at.start).astype(row.dtype), (at.start,))
        return row

    def matrix(self, **blocks: Float[Array, "_ _"] | ScalarLike) -> "BlockMatrix":
        """The D x D matrix of these blocks: `a__b=block` has its rows in slot a and its columns in slot b.

        Streams are rows, z @ matrix, so a write `x__w=M` reads x and adds x M to w; in a score z_i @ matrix @ z_j the query
        i is read at the first name and the key j at the second. A number stands for a 1 x 1 block.
        """
        return self.to(self, **blocks)

    def to(self, target: "Layout", **blocks: Float[Array, "_ _"] | ScalarLike) -> "BlockMatrix":
        """As `matrix`, with the columns in another layout."""
        shape = (self.width, target.width)
        dense, rows, columns = jnp.zeros(shape), set(), set()
        for name, block in blocks.items():
            source, _, destination = name.partition("__")
            row, column = self.slice(source), target.slice(destination)
            value = jnp.atleast_2d(jnp.asarray(block))
            checks.shape(f"the block {name}", value, (row.stop - row.start, column.stop - column.start))
            # where it stands is an argument of what is compiled, so that blocks of one shape share it
            dense = lax.dynamic_update_slice(dense, value.astype(dense.dtype), (row.start, column.start))
            rows |= set(range(row.start, row.stop))
            columns |= set(range(column.start, column.stop))
        return BlockMatrix(dense, tuple(sorted(rows)), tuple(sorted(columns)))


@partial(jax.tree_util.register_dataclass, data_fields=["dense"], meta_fields=["rows", "columns"])
@dataclass(frozen=True)
class BlockMatrix:
    """A matrix with the rows and columns that its blocks touch; everywhere else it is zero. Under vmap: a stack of them."""

    dense: Float[Array, "*stack rows columns"]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __neg__(self) -> "BlockMatrix":
        return replace(self, dense=-self.dense)

    @property
    def rank(self) -> int:
        """The head dimension that surely holds the matrix: the smaller number of touched rows or columns."""
        return min(len(self.rows), len(self.columns))

    def factors(self, inner: int) -> tuple[Float[Array, "rows inner"], Float[Array, "inner columns"]]:
        """Matrices A, B with A @ B = dense: one is the matrix itself, the other selects its slots; no SVD.

        Raises `ValueError` if `inner` is less than the rank.
        """
        checks.require(self.rank <= inner, f"a head of dimension {inner} cannot hold rank {self.rank}; give it {self.rank}.")
        rows, columns = self.dense.shape
        if len(self.columns) <= len(self.rows):
            index = np.array(self.columns, dtype=int)
            left, right = self.dense[:, index], jnp.asarray(np.eye(columns)[index], dtype=float)
        else:
            index = np.array(self.rows, dtype=int)
            left, right = jnp.asarray(np.eye(rows)[:, index], dtype=float), self.dense[index]
        spare = inner - self.rank
        return jnp.pad(left, ((0, 0), (0, spare))), jnp.pad(right, ((0, spare), (0, 0)))
