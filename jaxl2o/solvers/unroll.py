"""The one scan over steps, and the one while-loop: every solver of the library runs here."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jaxl2o import checks
from jaxl2o.solvers.implicit import Implicit, at_root
from jaxl2o.types import Prompt, PyTree, Solver


class Unrolled(NamedTuple):
    """Differentiate through every step; `remat` recomputes a step's insides in the backward pass to save memory."""

    remat: bool = False


class Truncated(NamedTuple):
    """Differentiate through the last `steps` steps alone; what came before counts as a constant."""

    steps: int


Keep = Literal["iterates", "last"] | Callable[[Any], Any]


def unroll(
    solver: Solver,
    prompt: Prompt,
    n_steps: int,
    gradient: Unrolled | Truncated | Implicit = Unrolled(),
    keep: Keep = "iterates",
) -> PyTree:
    """Run `n_steps` steps of a solver on one prompt.

    keep "iterates": the iterates after 0..T steps, stacked on a leading axis of T+1; "last": the final iterate alone;
    a function of the state: its values after 0..T steps, stacked.

    Raises `ValueError` if a learned solver has fewer layers than `n_steps`, if `Implicit` is asked of a solver without
    a residual, or with another `keep` than "last".
    """
    checks.require(
        callable(keep) or keep in ("iterates", "last"), f"keep is {keep!r}; it must be 'iterates', 'last' or a function."
    )
    if isinstance(gradient, Truncated):
        checks.require(gradient.steps >= 0, f"Truncated has {gradient.steps} steps; it must be zero or greater.")
    checks.require(n_steps >= 0, f"n_steps is {n_steps}; it must be zero or greater.")
    depth = min((leaf.shape[0] for leaf in jax.tree.leaves(solver.layers)), default=n_steps)
    checks.require(n_steps <= depth, f"the solver has {depth} learned layers, but {n_steps} steps are asked; ask fewer.")
    if isinstance(gradient, Implicit):
        checks.require(keep == "last", f"Implicit gives the last iterate alone, but keep is {keep!r}; use keep='last'.")
        return at_root(solver, prompt, lambda: (unroll(solver, prompt, n_steps, keep="last"), None), gradient.linear_solve)[0]

    read = solver.iterate if isinstance(keep, str) else keep

    def step(state: Any, layer: Any) -> tuple[Any, Any]:
        state = solver.step(state, prompt, layer)
        return state, None if keep == "last" else read(state)

    if isinstance(gradient, Unrolled) and gradient.remat:
        step = jax.checkpoint(step, prevent_cse=False)

    def run(state: Any, start: int, stop: int) -> tuple[Any, Any]:
        layers = jax.tree.map(lambda leaf: leaf[start:stop], solver.layers)
        return lax.scan(step, state, layers, length=stop - start)

    first = solver.init(prompt)
    cut = max(n_steps - gradient.steps, 0) if isinstance(gradient, Truncated) else 0
    middle, early = lax.stop_gradient(run(first, 0, cut)) if cut else (first, None)
    last, late = run(middle, cut, n_steps)
    if keep == "last":
        return solver.iterate(last)
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], read(first))
    parts = [start, late] if early is None else [lax.stop_gradient(start), early, late]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def solve(
    solver: Solver,
    prompt: Prompt,
    until: Callable[[Any, Prompt], Array],
    max_steps: int,
    gradient: Implicit | None = None,
) -> tuple[Any, Int[Array, ""]]:
    """Run a classical solver until `until(iterate, prompt)` or `max_steps`; returns the iterate and the steps taken.

    A while-loop: it stops early, and under `vmap` it runs until all tasks are done. Without a `gradient` it is differentiated
    through every step, in forward mode alone; with `Implicit` at the root, in both modes.
    """
    checks.require(solver.layers is None, "solve takes classical solvers; a learned one has its own depth: use unroll.")

    def unfinished(carry: tuple[Any, Any]) -> Array:
        state, taken = carry
        return (taken < max_steps) & ~until(solver.iterate(state), prompt)

    def step(carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, taken = carry
        return solver.step(state, prompt, None), taken + 1

    def run() -> tuple[Any, Array]:
        state, taken = lax.while_loop(unfinished, step, (solver.init(prompt), jnp.zeros((), dtype=int)))
        return solver.iterate(state), taken

    def counted_in_floats() -> tuple[Any, Array]:
        iterate, taken = run()
        return iterate, taken.astype(float)  # custom_root wants a derivative of all that it returns

    if gradient is None:
        return run()
    iterate, taken = at_root(solver, prompt, counted_in_floats, gradient.linear_solve)
    return iterate, taken.astype(int)
