"""Our side: `certified`, many at one time, in chunks that one compiled call goes through."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.speed.lasso.problems import Data
from jaxl2o.certified.descent import Descent
from jaxl2o.certified.fista import Fista
from jaxl2o.certified.homotopy import Homotopy
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.method import Method
from jaxl2o.certified.problem import problem

METHODS: dict[str, Method] = {"ours, Fista": Fista(), "ours, Descent": Descent(), "ours, Homotopy": Homotopy()}


def solver(name: str, data: Data, penalties: np.ndarray, together: int) -> Callable[[float], np.ndarray]:
    """tolerance -> the answers (count, d): NumPy arrays in, NumPy arrays out."""
    method = METHODS[name]
    if isinstance(method, Descent):
        method = method._replace(shared=data.x.ndim == 2)

    @jax.jit
    def solve(x: Array, y: Array, penalties: Array, tolerance: Array) -> Array:
        def one(given: tuple[Array, ...]) -> Array:
            label, penalty, *own = given
            made = problem(own[0] if own else x, label, penalty, scaling="half_sum")
            return certified(made, method, tolerance=tolerance).solution

        own = () if x.ndim == 2 else (x,)
        return jax.lax.map(one, (y, penalties, *own), batch_size=min(together, len(y)) if together > 1 else None)

    return lambda tolerance: np.asarray(solve(data.x, data.y, penalties, jnp.asarray(tolerance)))
