"""The best that methods with fixed coefficients can do on Gaussian prompts, and the coefficients that attain it.

Prompts: n examples x_i ~ N(0, Sigma), w* ~ N(0, Sigma^-1), y_i = <x_i, w*>, a query x ~ N(0, Sigma). Gradient descent,
momentum and every other first-order method on 1/(2n) |X w - y|^2 from w = 0, with scalar coefficients that do not depend on
the prompt, has w_k - w* = -p_k(H) w*, where H = X'X / n and p_k is its residual polynomial: degree k, p_k(0) = 1. So its
expected squared error at the query is a quadratic form in the coefficients of p_k, and the least one is found exactly.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxl2o import checks
from jaxl2o.limits.wishart import loss_matrix


def loss_of(polynomials: Float[Array, "t k"], matrix: Float[Array, "k k"]) -> Float[Array, " t"]:
    """p'M p for every row p: the exact expected loss of any method with fixed coefficients. Differentiable in both.

    math    code           shape
    p_t     polynomials    (T+1, T+1); row t: 1, then the coefficients of lambda, lambda^2, ...
    M       matrix         (T+1, T+1), `loss_matrix` as floats
    """
    return jnp.einsum("ti,ij,tj->t", polynomials, matrix, polynomials)


def optimal_polynomial(matrix: Shaped[np.ndarray, "k k"]) -> tuple[Fraction, Shaped[np.ndarray, " k"]]:
    """min p'M p over p(0) = 1, exactly: the loss 1 / (M^-1)_00, at p = M^-1 e_0 / (M^-1)_00.

    No method with fixed scalar coefficients does better at this depth, the degree of p.

    math         code              shape
    M            matrix            (k+1, k+1), a leading block of `loss_matrix`
    p_0..p_k     second answer     (k+1,), `Fraction`s
    """
    first = np.array([Fraction(int(i == 0)) for i in range(len(matrix))], dtype=object)
    column = _solve(matrix, first)
    return 1 / column[0], column / column[0]


def limit(n: int, eigenvalues: Sequence[Fraction | int | float], depth: int) -> Float[np.ndarray, " k"]:
    """The least expected squared error at the query, after 0 to depth steps, of methods with fixed scalar coefficients.

    A preconditioner c Sigma^-1 whitens the problem, whatever Sigma: its limit is that of eigenvalues all 1. There it is
    d / sum_{i <= k} pi_i(0)^2, pi_i orthonormal for the expected spectrum of H (the Christoffel function at 0), and k = 1
    gives d (1 - 1 / (1 + (d+1)/n)).

    math           code           shape
    n              n              ()
    Sigma          eigenvalues    (d,)
    loss at k      the answer     (depth + 1,)

    Raises `ValueError` for what `loss_matrix` refuses.
    """
    matrix = loss_matrix(n, eigenvalues, depth)
    return np.array([float(optimal_polynomial(matrix[: k + 1, : k + 1])[0]) for k in range(depth + 1)])


def momentum_of(matrix: Shaped[np.ndarray, "k k"]) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Step sizes and momenta that attain the least p'M p after every number of steps at once, for M_ij = m_{i+j}.

        s_t = -grad R(w_t) + gamma_t s_{t-1},    w_{t+1} = w_t + alpha_t s_t,    w_0 = 0

    In polynomials: q_t = -lambda p_t + gamma_t q_{t-1}, p_{t+1} = p_t + alpha_t q_t. Where M holds the moments of a measure mu,
    the optimal p_0, p_1, ... are orthogonal with respect to lambda dmu, and so obey such a recurrence: conjugate residuals on
    mu (Pedregosa and Scieur 2020, arXiv:2002.04756). The highest coefficients of both sides give alpha_t, those of lambda then
    give gamma_t.

    math       code             shape
    M          matrix           (T+1, T+1), of `Fraction`s
    alpha_t    first answer     (T,)
    gamma_t    second answer    (T,); gamma_0 = 0
    """
    depth = len(matrix) - 1
    polynomials = [optimal_polynomial(matrix[: k + 1, : k + 1])[1] for k in range(depth + 1)]
    alpha = [-after[-1] / before[-1] for before, after in pairwise(polynomials)]
    # the coefficient of lambda in p_t, then in q_t
    slope = [Fraction(0), *(p[1] for p in polynomials[1:])]
    direction = [(slope[t + 1] - slope[t]) / alpha[t] for t in range(depth)]
    gamma = [(1 + direction[t]) / direction[t - 1] if t else Fraction(0) for t in range(depth)]
    return np.array(alpha, dtype=float), np.array(gamma, dtype=float)


def optimal_momentum(n: int, d: int, depth: int) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """`momentum_of` the expected spectrum of H, for n examples with Sigma = I, or whitened: it attains `limit` at every depth.

    Raises `ValueError` for n or d below 1 and for a negative depth.
    """
    return momentum_of(loss_matrix(n, [1] * d, depth))


def optimal_steps(n: int, d: int, depth: int) -> Float[np.ndarray, " t"]:
    """Step sizes, longest first, with which plain gradient descent attains the limit after `depth` steps, for Sigma = I.

    They are 1 / the roots of the optimal polynomial, p(lambda) = prod_t (1 - eta_t lambda), so their order does not matter
    for the last iterate. As p is orthogonal for a positive measure, its roots are real and simple: the eigenvalues of the
    symmetric tridiagonal matrix of the recurrence, with 1/alpha_t + gamma_t/alpha_{t-1} on the diagonal and
    sqrt(gamma_t)/alpha_{t-1} beside it.

    math     code          shape
    n, d     n, d          (), ()
    eta_t    the answer    (depth,)

    Raises `ValueError` for n or d below 1 and for a negative depth.
    """
    alpha, gamma = optimal_momentum(n, d, depth)
    diagonal = 1 / alpha
    diagonal[1:] += gamma[1:] / alpha[:-1]
    beside = np.sqrt(gamma[1:]) / alpha[:-1]
    return 1 / np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))


def degree_bound(n: int, d: int, depth: int) -> Float[np.ndarray, " layers"]:
    """A floor for GD++ with fixed scalars after 0 to depth layers, for Sigma = I: the limit at degree (3^L - 1)/2.

    In GD++ (von Oswald et al. 2023, arXiv:2212.07677) a layer multiplies the residual by I - a H and moves the inputs too,
    x_i <- (I - b H) x_i. So H becomes (I - b H)^2 H, three times the degree, and L layers have degree 1 + 3 + ... + 3^(L-1).
    Their residual polynomials are only some of that degree, so the floor need not be attained for L > 1. Three layers take
    a tenth of a second, four half a minute.

    math    code          shape
    n, d    n, d          (), ()
    L       0..depth      the answer: (depth + 1,)

    Raises `ValueError` for n or d below 1 and for a negative depth.
    """
    checks.nonnegative("depth", depth)
    degrees = [(3**layers - 1) // 2 for layers in range(depth + 1)]
    return limit(n, [1] * d, degrees[-1])[degrees]


def large_dimension_limit(ratio: float, depth: int) -> Float[np.ndarray, " k"]:
    """The limit for Sigma = I as n and d grow with d/n = r, per dimension: r^k / (1 + r + ... + r^k).

    For r < 1 that is (1-r) r^k / (1 - r^(k+1)). The spectrum becomes the law of Marchenko and Pastur.

    math    code          shape
    r       ratio         ()
    k       0..depth      the answer: (depth + 1,)

    Raises `ValueError` for a ratio that is not positive and for a negative depth.
    """
    checks.positive("ratio", ratio)
    checks.nonnegative("depth", depth)
    powers = ratio ** np.arange(depth + 1.0)
    return powers / np.cumsum(powers)


def _solve(matrix: Shaped[np.ndarray, "k k"], right: Shaped[np.ndarray, " k"]) -> Shaped[np.ndarray, " k"]:
    """M^-1 b by Gaussian elimination, for positive definite M: then no pivot is zero, and Fractions need no larger one."""
    rows = np.column_stack([matrix, right])
    for k in range(len(rows)):
        rows[k] /= rows[k, k]
        for i in range(len(rows)):
            if i != k:
                rows[i] -= rows[i, k] * rows[k]
    return rows[:, -1]
