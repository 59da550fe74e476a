"""A gradient through a loop that stops early, as the most steps it may take grow: ours, optimistix's and jaxopt's.

The shape is that of optimistix's `benchmarks/vmap-unroll.py`: gradient descent on a quadratic of 100 variables, vmapped over
one start, at most 10^4 or 10^5 steps. There the derivative is by the start, which the limit forgets; here it is by the labels
of |S w - y|^2. All in float64.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.speed.lasso import theirs
from jaxl2o import Implicit, Prompt, solve, unroll
from jaxl2o.objectives import least_squares_gradient
from jaxl2o.solvers.first_order import gradient_descent

D, STEP = 100, 1e-3
SMALL = 1e-4  # a step at which ours and optimistix's stop, beside 1 + |w_j|; jaxopt's stops by the gradient's length
SEED = 6


def quadratic() -> tuple[Array, Array, Array]:
    """S (100, 100), one start and one y, (1, 100) each, from N(0, 1)."""
    keys = jax.random.split(jax.random.key(SEED), 3)
    return jax.random.normal(keys[0], (D, D)), jax.random.normal(keys[1], (1, D)), jax.random.normal(keys[2], (1, D))


def stopped(s: Array, max_steps: int) -> Callable[[Array, Array], Array]:
    """(start, y) -> the sum of the iterate at which `solve` stops, with the implicit derivative."""
    # the library's least squares are |S w - y|^2 / (2 n), its gradient 2 n times as small
    solver = gradient_descent(STEP * 2 * D)

    def small(w: Array, prompt: Prompt) -> Array:
        step = STEP * 2 * D * least_squares_gradient(w, prompt)
        return jnp.all(jnp.abs(step) <= SMALL * (1.0 + jnp.abs(w)))

    def answer(start: Array, y: Array) -> Array:
        prompt = Prompt.of(s, y)._replace(start=start)
        return solve(solver, prompt, small, max_steps, Implicit())[0].sum()

    return answer


def measure(steps: list[int], rounds: int, peers: list[str]) -> dict[str, Any]:
    """Seconds of value and gradient together (names, steps, rounds), each one's relative error, and our reverse passes'."""
    s, start, y = quadratic()
    sides = {"ours": stopped, **{name: make for name, make in theirs.UNROLLED.items() if name in peers}}
    exact = np.linalg.solve(np.asarray(s).T, np.ones(D))
    runs = {
        (name, most): jax.jit(jax.vmap(jax.value_and_grad(make(s, most), argnums=1)))
        for name, make in sides.items()
        for most in steps
    }
    errors = {key: float(np.linalg.norm(run(start, y)[1][0] - exact) / np.linalg.norm(exact)) for key, run in runs.items()}
    backs = [backward(s, start, y, most) for most in steps]
    seconds = {key: [] for key in runs}
    reverse = [[] for _ in steps]
    for _ in range(rounds):
        for key, run in runs.items():
            seconds[key].append(clocked(lambda run=run: run(start, y)))
        for taken, back in zip(reverse, backs, strict=True):
            taken.append(min(clocked(back) for _ in range(20)))
    return {
        "names": list(sides),
        "seconds": [[seconds[name, most] for most in steps] for name in sides],
        "errors": [[errors[name, most] for most in steps] for name in sides],
        "reverse": reverse,
    }


def backward(s: Array, start: Array, y: Array, n_steps: int) -> Callable[[], Array]:
    """The reverse pass of `unroll` with `Implicit` behind so many steps, compiled, with the forward pass done."""
    solver = gradient_descent(STEP * 2 * D)

    def forward(y: Array) -> Array:
        return unroll(solver, Prompt.of(s, y)._replace(start=start[0]), n_steps, Implicit(), keep="last").sum()

    _, pull = jax.jit(partial(jax.vjp, forward))(y[0])
    back = jax.jit(lambda pull, seed: pull(seed)[0])
    back(pull, jnp.ones(()))
    return lambda: back(pull, jnp.ones(()))


def clocked(run: Callable[[], Array]) -> float:
    """The seconds of one time."""
    began = perf_counter()
    jax.block_until_ready(run())
    return perf_counter() - began
