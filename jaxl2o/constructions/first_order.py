"""Linear attention with a memory runs every linear first-order method: a layer sees the gradient, its memory weighs it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.constructions.construction import Construction, Head, LayerSpec, every_layer, fill, linear_answer
from jaxl2o.constructions.gradient_descent import descent, gaussian_prompt, in_every_layer
from jaxl2o.limits.polynomial import optimal_momentum, optimal_steps
from jaxl2o.models.encoding import stacked
from jaxl2o.solvers import first_order
from jaxl2o.solvers.krylov import conjugate_gradient as conjugate_gradient_solver
from jaxl2o.solvers.linear_first_order import linear_first_order as linear_first_order_solver
from jaxl2o.solvers.linear_first_order import nesterov_coefficients, preconditioned_coefficients
from jaxl2o.solvers.momentum import Steps, scheduled_momentum
from jaxl2o.solvers.momentum import nesterov as nesterov_solver
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.types import ScalarLike

DUTTA = "Dutta and Sra 2024 (arXiv:2410.07263)"
OWN = "a proposition of this library"


def gradient_descent_with_momentum(steps: Steps, preconditioner: Float[Array, "d d"]) -> Construction:
    """One layer with a register is one step of gradient descent with momentum: R_l = A_l + gamma_l R_{l-1}, z += alpha_l R_l.

    Dutta and Sra 2024, Proposition 1 and equation 17 (arXiv:2410.07263), for what it holds exactly: gradient descent with any
    schedule, heavy ball, the Chebyshev semi-iteration, and conjugate gradients with *frozen* coefficients. Attention writes
    <x_i, A g> into the label slots, where g = grad R; so registers hold -<x_i, s>, with the direction s.

    paper      code                               shape
    A          preconditioner                     (d, d)
    alpha      steps.step_size, step_size         (T,), a number a head and layer
    gamma      steps.momentum, decay              (T,), a number a head and layer
    """
    leaves = {"step_size": steps.step_size[:, None], "decay": steps.momentum[:, None]}
    alike = in_every_layer(preconditioner, len(steps.step_size))
    return descent(DUTTA + ", Proposition 1", scheduled_momentum(steps, preconditioner), alike, "momentum", **leaves)


def linear_first_order(coefficients: Float[Array, "T T"], preconditioners: Float[Array, "T d d"]) -> Construction:
    """One layer that remembers all gradients is one step of any linear first-order method: z += sum_k C[l, k] A_{l-k}.

    Dutta and Sra 2024, Proposition 2 (arXiv:2410.07263), with the untied coefficients that it needs: the tied ones of their
    experiments hold no momentum below one. Every layer has a preconditioner P_l of its own; the solver takes C[l, k] P_{l-k}.

    paper                              code               shape
    -(Gamma^l_j - Gamma^{l-1}_j)       coefficients       (T, T), of the gradients 0, 1, ... layers ago
    A_l                                preconditioners    (T, d, d)
    """
    solver = linear_first_order_solver(preconditioned_coefficients(coefficients, preconditioners))
    reference = DUTTA + ", Proposition 2"
    return descent(reference, solver, preconditioners[:, None], "lfom", coefficients=coefficients[:, :, None])


def diagonal_first_order(coefficients: Float[Array, "T T d"]) -> Construction:
    """The same with diagonal coefficients, by d heads: head h sees coordinate h of the gradient, and has its own coefficients.

    A proposition of this library. A weight for every feature and token, as in the Hadamard memory, cannot do this: it scales
    the label slots of a token, and the share of a coordinate in them differs from prompt to prompt.

    symbol    code            shape
    C         coefficients    (T, T, d), of the gradients 0, 1, ... layers ago
    A^(h)     e_h e_h'        (d, d), the preconditioner of head h
    """
    depth, _, d = coefficients.shape
    coordinates = jnp.broadcast_to(jax.vmap(jnp.diag)(jnp.eye(d)), (depth, d, d, d))
    return descent(OWN, linear_first_order_solver(coefficients), coordinates, "lfom", coefficients=coefficients)


def nesterov(step_size: ScalarLike, momenta: Float[Array, " T"], d: int) -> Construction:
    """Nesterov's method is such a method: layer l holds his extrapolated point v_l, and with momenta_T = 0 the last is w_T.

    Its coefficients are step_size ([k = 0] + prod_{i = l-k..l} momenta_i). From four layers on they are those of no register
    with alpha and gamma: the memory of all gradients is needed.
    """
    coefficients = nesterov_coefficients(step_size, momenta)[:, :, None]
    solver, plain = nesterov_solver(step_size, momenta), in_every_layer(jnp.eye(d), len(momenta))
    return descent(DUTTA + ", Proposition 2", solver, plain, "lfom", coefficients=coefficients)


def gradient_descent_plus_plus(step_sizes: Float[Array, " T"], shrinkage: Float[Array, " T"], d: int) -> Construction:
    """GD++: the same head that takes the gradient step also moves every token, x <- x - b_l X'X x / n.

    von Oswald et al. 2023 (arXiv:2212.07677); Ahn et al. 2023 (arXiv:2306.00297). No memory. The score -a x_i'x_j writes
    y_j into the label slot, and (b / a) x_j into x: step sizes must not be zero.

    symbol    code                     shape
    a, b      step_sizes, shrinkage    (T,) each
    """
    encoding, solver = stacked(d), first_order.gd_plus_plus(step_sizes, shrinkage)
    at, identity = encoding.layout, jnp.eye(d)

    def layer(a: Float[Array, ""], b: Float[Array, ""]) -> LayerSpec:
        return LayerSpec((Head(at.matrix(x__x=-a * identity), at.matrix(y__y=1.0, x__x=b / a * identity)),))

    depth = len(step_sizes)
    config, params = fill(at.width, "linear", [layer(step_sizes[t], shrinkage[t]) for t in range(depth)])
    reference = "von Oswald et al. 2023 (arXiv:2212.07677)"
    return Construction(reference, config, encoding, params, solver, every_layer(depth), linear_answer, gaussian_prompt(d))


def conjugate_gradient(preconditioner: Float[Array, "d d"], depth: int) -> Construction:
    """One layer whose gates are the prompt's own is one step of conjugate gradients; d layers give the exact answer.

    A proposition of this library. With the residual y_i - <x_i, w> in the label slots, attention sees <x_i, P g>; so
    -<z, A> / n = g'P g = rho and <R, R> / n = s'H s over the readable tokens, whose quotients are the coefficients. No fixed
    parameters do it: then the answers would be linear in the labels. Layers beyond the answer change nothing.

    symbol    code              shape
    P         preconditioner    (d, d), symmetric positive definite

    In floating point the layers have full digits where some w fits the labels, which are the prompts sampled here; otherwise
    a residual stays in the label slots, beside which half of the digits of rho are lost. Where H is ill-conditioned conjugate
    gradients amplify rounding: so much is the tolerance.
    """
    d = preconditioner.shape[0]
    solver = conjugate_gradient_solver(preconditioner)
    found = descent(OWN, solver, in_every_layer(preconditioner, depth), "conjugate")
    task = linear_regression(20, jnp.eye(d), n_queries=3)
    return found._replace(sample=lambda key: task.sample(key).prompt, tolerance=1e-10)


def optimal(n: int, covariance: Float[Array, "d d"], depth: int) -> Construction:
    """The best method with fixed coefficients, at every depth at once: momentum with the schedule that the moments give.

    A proposition of this library, for prompts of n examples x ~ N(0, Sigma) and w ~ N(0, Sigma^-1): after every layer l the
    expected squared error is the least that scalar coefficients and a preconditioner c Sigma^-1 allow (`limits.polynomial`).

    symbol          code                       shape
    Sigma           covariance                 (d, d)
    alpha, gamma    optimal_momentum(n, d)     (T,) each
    """
    steps = Steps(*map(jnp.asarray, optimal_momentum(n, covariance.shape[0], depth)))
    return gradient_descent_with_momentum(steps, jnp.linalg.inv(covariance))._replace(reference=OWN)


def optimal_without_memory(n: int, covariance: Float[Array, "d d"], depth: int) -> Construction:
    """The same loss after the last layer, by a linear Transformer without memory: its steps are 1 / the polynomial's roots.

    So at a depth that is fixed beforehand memory does not lower what can be reached. It makes all depths optimal at once.
    """
    steps, inverse = jnp.asarray(optimal_steps(n, covariance.shape[0], depth)), jnp.linalg.inv(covariance)
    solver = scheduled_momentum(Steps(steps, jnp.zeros_like(steps)), inverse)
    return descent(OWN, solver, steps[:, None, None, None] * inverse[None, None])
