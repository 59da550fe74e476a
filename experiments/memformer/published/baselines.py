"""Methods that are not trained: momentum, Nesterov's and conjugate gradients, as published, and with their best numbers.

After T steps those with fixed numbers are polynomials, so their losses are exact, and the best numbers are those of the law.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from experiments.common import Results, Run
from experiments.memformer.measuring import EIGENVALUES, ROOTS, D, score
from experiments.memformer.parts import conjugate, exact_losses
from experiments.memformer.published.config import Config
from jaxl2o.limits.polynomial import degree_bound, limit
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.solvers.linear_first_order import momentum_coefficients, nesterov_coefficients
from jaxl2o.solvers.momentum import Steps

# (step size, momentum, number of steps) -> coefficients
Family = Callable[[float, float, int], Float[Array, "T T"]]


def heavy_ball(step_size: float, momentum: float, depth: int) -> Float[Array, "T T"]:
    """s_t = -grad R(w_t) + momentum s_{t-1}, w_{t+1} = w_t + step_size s_t."""
    return momentum_coefficients(Steps(jnp.full(depth, step_size), jnp.full(depth, momentum)))


def nesterov(step_size: float, momentum: float, depth: int) -> Float[Array, "T T"]:
    """A gradient step from w_t + momentum (w_t - w_{t-1}); the last answer is w_T."""
    return nesterov_coefficients(step_size, jnp.full(depth, momentum).at[-1].set(0.0))


FAMILIES: dict[str, Family] = {"momentum": heavy_ball, "Nesterov": nesterov}
# the paper's step size, of gradients that are not divided by n, and its momentum
PUBLISHED = {"momentum": (0.005, 0.9), "Nesterov": (0.03, 0.9)}
LEFT_OUT = 1  # of the examples, where the paper computes conjugate gradients, momentum and Nesterov's


def baselines(config: Config, run: Run, results: Results) -> None:
    """Rows that no training changes; losses after 1..T steps, or after 0..T where a limit begins with predicting zero."""
    fewer, predict = replace(config, n=config.n - LEFT_OUT), partial(conjugate, config.depth)
    for law, root in ROOTS.items():
        for name, sizes in (("20 examples", config), ("as published", fewer)):
            found, title = Results(), f"conjugate gradients, {name}/{law}"
            score(sizes, run, found, title, predict, None, root)
            results[title] = found[f"{title}/loss"][:, 1:]
        results[f"limit/{law}"] = limit(config.n, EIGENVALUES[law], config.depth)[1:]
        results[f"limit/{law}, as published"] = limit(fewer.n, EIGENVALUES[law], config.depth)[1:]
    with run.stage("the floor of GD++"):
        results["limit/moving"] = degree_bound(config.n, D, config.depth)[1:]
    matrices = {
        "as published": loss_matrix(fewer.n, EIGENVALUES["rotated"], config.depth),
        "tuned": loss_matrix(config.n, EIGENVALUES["rotated"], config.depth),
        "tuned, preconditioned": loss_matrix(config.n, EIGENVALUES["isotropic"], config.depth),
    }
    for title, family in FAMILIES.items():
        with run.stage(f"{title}, exact losses"):
            for name, matrix in matrices.items():
                fixed = PUBLISHED[title] if name == "as published" else None
                rows = [row(family, depth, matrix, fixed and (fewer.n * fixed[0], fixed[1])) for depth in depths(config)]
                results[f"{title}, {name}"] = np.array(rows)


def depths(config: Config) -> range:
    """All numbers of layers."""
    return range(1, config.depth + 1)


def row(family: Family, depth: int, matrix: np.ndarray, fixed: tuple[float, float] | None) -> float:
    """The exact loss after so many steps, with fixed numbers, or with the best ones."""

    def loss(numbers: np.ndarray | tuple[float, float]) -> float:
        with jax.enable_x64(True):
            coefficients = np.asarray(family(float(numbers[0]), float(numbers[1]), depth))
        return float(exact_losses(coefficients, matrix[: depth + 1, : depth + 1])[-1])

    if fixed is not None:
        return loss(fixed)
    starts = [(size, momentum) for size in (0.3, 0.6, 1.0, 1.5) for momentum in (0.0, 0.3, 0.6)]
    best = min(starts, key=loss)
    return float(optimize.minimize(loss, best, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}).fun)
