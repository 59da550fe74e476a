"""Gradient flow of any objective is a Solver too: the limit of gradient descent for small steps, by Runge and Kutta's rule."""

from collections.abc import Callable
from typing import Any

import jax

from jaxl2o import checks
from jaxl2o.solvers.first_order import start_at_zero
from jaxl2o.types import Prompt, ScalarLike, Solver


def gradient_flow(
    objective: Callable[[Any, Prompt], ScalarLike], time_step: ScalarLike, init: Callable[[Prompt], Any] = start_at_zero
) -> Solver:
    """w' = -grad objective(w, prompt), at times 0, h, 2h, ..: the classical method of Runge and Kutta, of fourth order.

    w(t + h) = w + h/6 (v_1 + 2 v_2 + 2 v_3 + v_4), where v_1, .., v_4 are the velocities at w, w + h/2 v_1, w + h/2 v_2 and
    w + h v_3. The error at a fixed time is of order h^4. Near a minimum steps contract for h below 2.78 / (largest curvature).

    symbol   code        shape
    w        state       of any structure, which is the iterate too
    h        time_step   (), > 0
    w(0)     init        prompt -> iterate

    Raises `ValueError` for a time step that is not positive.
    """
    checks.positive("time_step", time_step)
    gradient = jax.grad(objective)

    def step(start: Any, prompt: Prompt, _: None) -> Any:
        def moved(by: float, velocity: Any) -> Any:
            return jax.tree.map(lambda w, v: w + by * time_step * v, start, velocity)

        def velocity(iterate: Any) -> Any:
            return jax.tree.map(lambda slope: -slope, gradient(iterate, prompt))

        first = velocity(start)
        second = velocity(moved(0.5, first))
        third = velocity(moved(0.5, second))
        fourth = velocity(moved(1.0, third))
        return moved(1.0 / 6.0, jax.tree.map(lambda a, b, c, d: a + 2.0 * b + 2.0 * c + d, first, second, third, fourth))

    return Solver(init, step, lambda iterate: iterate, residual=gradient)
