"""Theorems as parameters. `CONSTRUCTIONS` is the table that the theorem test and the exactness experiment run over."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxl2o.constructions.construction import Construction
from jaxl2o.constructions.expectation_maximisation import expectation_maximisation, symmetric_expectation_maximisation
from jaxl2o.constructions.first_order import (
    conjugate_gradient,
    diagonal_first_order,
    gradient_descent_plus_plus,
    gradient_descent_with_momentum,
    linear_first_order,
    nesterov,
    optimal,
    optimal_without_memory,
)
from jaxl2o.constructions.gradient_descent import gaussian_prompt, gradient_descent, preconditioned_gradient_descent
from jaxl2o.constructions.in_context import in_context_alista
from jaxl2o.constructions.logistic import damped_newton, damped_newton_of_any_length
from jaxl2o.constructions.logistic_block import Cells
from jaxl2o.constructions.mixture_block import Limits
from jaxl2o.constructions.momentum import lista_vm_with_momentum
from jaxl2o.constructions.newton import (
    newton_least_squares,
    newton_schulz,
    newton_schulz_in_one_layer,
    third_order_inverse,
)
from jaxl2o.constructions.sparse_recovery import lista_vm, lista_vm_known_support, lista_vm_linear_read_out
from jaxl2o.limits.extremes import largest_eigenvalue
from jaxl2o.limits.linear_attention import best_matrix
from jaxl2o.limits.mixture import independent_moments
from jaxl2o.solvers.in_context import InContextLayers
from jaxl2o.solvers.krylov import frozen_steps
from jaxl2o.solvers.momentum import Steps, chebyshev_steps
from jaxl2o.solvers.varying import MomentumLayers, VaryingLayers


def random_varying_layers(d: int = 10, depth: int = 12, seed: int = 0) -> VaryingLayers:
    """M with independent N(0, 1/d) entries and thresholds uniform in [0, 0.2]: no structure that could hide an error."""
    key_matrix, key_threshold = jax.random.split(jax.random.key(seed))
    matrix = jax.random.normal(key_matrix, (depth, d, d)) / jnp.sqrt(float(d))
    return VaryingLayers(matrix, jax.random.uniform(key_threshold, (depth,), maxval=0.2))


def random_momentum_layers(d: int = 10, depth: int = 12, seed: int = 0) -> MomentumLayers:
    """The same, with momenta and shares of the last move uniform in [0, 1]."""
    drawn = jax.random.uniform(jax.random.key(seed + 1), (2, depth))
    return MomentumLayers(*random_varying_layers(d, depth, seed), *drawn)


def random_in_context_layers(depth: int = 6, seed: int = 0) -> InContextLayers:
    """Step sizes, momenta, thresholds and shares of the residual, uniform in [0.5, 1], [0, 0.3], [0, 0.1] and [0, 0.5]."""
    least, most = jnp.array([0.5, 0.0, 0.0, 0.0]), jnp.array([1.0, 0.3, 0.1, 0.5])
    drawn = jax.random.uniform(jax.random.key(seed), (4, depth))
    return InContextLayers(*(least[:, None] + (most - least)[:, None] * drawn))


# random matrices can blow an iterate up (the largest score of 10^4 prompts was 10^6); a larger mask constant costs nothing
BOUND = 1e9

# starts of Newton-Schulz in five dimensions: of square matrices, and of least squares with any number of examples, from one on
SQUARE, ANY = 1.0 / (5 * largest_eigenvalue(5, 5)), 1.0 / (largest_eigenvalue(1, 5) + 0.1) ** 2
CELLS = Cells(sigmoid=40, square=16, step=40)
# a mixture's weights and noise; inputs of length one and labels within one, from which iterates of length one do not go far
WEIGHTS, NOISE, LIMITS = (0.5, 0.3, 0.2), 1.0, Limits(x=1.0, y=1.0, iterate=1.5)


def _random_preconditioner(d: int = 5) -> jax.Array:
    return 0.3 * jnp.eye(d) + 0.1 * jax.random.normal(jax.random.key(1), (d, d))


def _random_covariance(d: int = 5) -> jax.Array:
    root = jax.random.normal(jax.random.key(1), (d, d))
    return jnp.eye(d) + 0.2 * root @ root.T


def _linear_attention_on_mixtures(n: int = 20, d: int = 5) -> Construction:
    """The layer of linear self-attention <x, A'X'y / n> of least risk: one preconditioned step from zero."""
    moments = independent_moments(jnp.array(WEIGHTS), jnp.eye(d) / d)
    return preconditioned_gradient_descent(1, best_matrix(moments, NOISE, n, _random_covariance(d)).T)


def _random_steps(depth: int = 8) -> Steps:
    return Steps(*jax.random.uniform(jax.random.key(2), (2, depth), minval=0.1, maxval=0.6))


def _random_coefficients(depth: int = 6, *sizes: int) -> jax.Array:
    return 0.2 * jax.random.normal(jax.random.key(3), (depth, depth, *sizes))


CONSTRUCTIONS: dict[str, Callable[[], Construction]] = {
    "gradient-descent": lambda: gradient_descent(d=5, depth=8, step_size=0.3),
    "preconditioned-gradient-descent": lambda: preconditioned_gradient_descent(8, _random_preconditioner()),
    "heavy-ball": lambda: gradient_descent_with_momentum(Steps(jnp.full(8, 0.3), jnp.full(8, 0.5)), jnp.eye(5)),
    "chebyshev": lambda: gradient_descent_with_momentum(chebyshev_steps(0.2, 3.0, 8), jnp.eye(5)),
    "momentum": lambda: gradient_descent_with_momentum(_random_steps(), _random_preconditioner()),
    "frozen-conjugate-gradient": lambda: gradient_descent_with_momentum(
        frozen_steps(gaussian_prompt(5)(jax.random.key(5)), 4), jnp.eye(5)
    ),
    "linear-first-order": lambda: linear_first_order(
        _random_coefficients(), 0.5 * jax.random.normal(jax.random.key(4), (6, 5, 5))
    ),
    "diagonal-first-order": lambda: diagonal_first_order(_random_coefficients(6, 5)),
    "nesterov": lambda: nesterov(0.3, jnp.array([0.1, 0.3, 0.4, 0.5, 0.5, 0.0]), d=5),
    "gradient-descent-plus-plus": lambda: gradient_descent_plus_plus(
        jnp.array([0.3, 0.2, 0.3]), jnp.array([0.1, 0.2, 0.1]), d=5
    ),
    "conjugate-gradient": lambda: conjugate_gradient(jnp.eye(5), depth=10),
    "preconditioned-conjugate-gradient": lambda: conjugate_gradient(_random_covariance(), depth=10),
    "optimal-first-order": lambda: optimal(20, _random_covariance(), depth=6),
    "optimal-without-memory": lambda: optimal_without_memory(20, _random_covariance(), depth=4),
    "lista-vm": lambda: lista_vm(random_varying_layers(), bound=BOUND),
    "lista-vm-factored": lambda: lista_vm(random_varying_layers(), bound=BOUND, head_dim=11),
    "lista-vm-known-support": lambda: lista_vm_known_support(random_varying_layers(), jnp.arange(10) < 5, bound=BOUND),
    "lista-vm-linear-read-out": lambda: lista_vm_linear_read_out(random_varying_layers(), n=20, bound=BOUND),
    "lista-vm-with-momentum": lambda: lista_vm_with_momentum(random_momentum_layers(depth=6), bound=BOUND),
    "in-context-alista": lambda: in_context_alista(random_in_context_layers(), d=10, newton_schulz_steps=8, n=8),
    "newton-schulz": lambda: newton_schulz(5, 6, SQUARE),
    "newton-schulz-in-one-layer": lambda: newton_schulz_in_one_layer(5, 6, SQUARE),
    "third-order-inverse": lambda: third_order_inverse(5, 4, SQUARE),
    "newton-least-squares": lambda: newton_least_squares(5, 10, ANY),
    "newton-ridge": lambda: newton_least_squares(5, 10, ANY, penalty=0.1),
    "damped-newton": lambda: damped_newton(3, 1.0, 3, 3, CELLS, n=8, radius=1.0),
    "damped-newton-of-any-length": lambda: damped_newton_of_any_length(3, 1.0, 3, 3, CELLS, least=1, n=8, radius=1.0),
    "linear-attention-on-mixtures": _linear_attention_on_mixtures,
    "symmetric-expectation-maximisation": lambda: symmetric_expectation_maximisation(3, 0.7, NOISE, 1.0, 3, 2, 96, LIMITS, n=8),
    "expectation-maximisation": lambda: expectation_maximisation(2, jnp.array(WEIGHTS), NOISE, 1.0, 2, 2, 48, LIMITS, n=8),
    "expectation-maximisation-in-turn": lambda: expectation_maximisation(
        2, jnp.array(WEIGHTS), NOISE, 1.0, 2, 2, 48, LIMITS, at_once=2, n=8
    ),
}
