"""The exact moments are Wick's and Gauss's, and no method with fixed coefficients beats the limit that they give."""

from fractions import Fraction
from functools import cache
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.limits.polynomial import (
    degree_bound,
    large_dimension_limit,
    limit,
    loss_of,
    optimal_momentum,
    optimal_polynomial,
    optimal_steps,
)
from jaxl2o.limits.wishart import loss_matrix

N, D = 20, 5
WHITE = [1] * D
COLOURED = [1, 1, Fraction(1, 4), Fraction(1, 16), 1]
EIGENVALUES = {"white": WHITE, "coloured": COLOURED}
DEPTH = 4
MATRIX = {name: loss_matrix(N, values, DEPTH) for name, values in EIGENVALUES.items()}


# --- moments -------------------------------------------------------------------------------------------------------------


def pairings(places):
    """All ways to put an even number of places in pairs."""
    if not places:
        yield []
    else:
        for k in range(1, len(places)):
            for pairs in pairings(places[1:k] + places[k + 1 :]):
                yield [(places[0], places[k]), *pairs]


def classes(size, pairs):
    """Which of the places 0..size-1 the pairs join: a list of sets."""
    parts = [{place} for place in range(size)]
    for a, b in pairs:
        joined = [part for part in parts if a in part or b in part]
        parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return parts


def wick(n, eigenvalues, i, j):
    """E tr(Sigma H^i Sigma^-1 H^j) by Wick's theorem: the sum over all pairings of the 2k Gaussian factors, k = i + j.

    Factor W_m = Z'Z has its two Z at places 2m and 2m + 1, in one row; S^c stands between place 2m + 1 and the next W. Each
    class of rows gives n, each cycle of columns the trace of S to the sum of its powers.
    """
    k = i + j
    powers = [1] * k
    if i and j:
        powers[i - 1], powers[k - 1] = 0, 2
    edges = [(2 * m + 1, (2 * m + 2) % (2 * k)) for m in range(k)]
    total = Fraction(0)
    for pairs in pairings(list(range(2 * k))):
        rows = classes(k, [(a // 2, b // 2) for a, b in pairs])
        term = Fraction(n) ** (len(rows) - k)
        for cycle in classes(2 * k, pairs + edges):
            power = sum(powers[m] for m in range(k) if 2 * m + 1 in cycle)
            term *= sum(Fraction(value) ** power for value in eigenvalues)
        total += term
    return total


@pytest.mark.parametrize(("n", "eigenvalues"), [(N, WHITE), (N, COLOURED), (2, [3, Fraction(1, 2), 1, 7])])
def test_moments_are_wicks(n, eigenvalues):
    """Every entry of degree 1 to 4, as a sum over up to 105 pairings; the same rational number."""
    matrix = loss_matrix(n, eigenvalues, 4)
    for i, j in [(i, j) for i in range(5) for j in range(5) if 1 <= i + j <= 4]:
        assert matrix[i, j] == wick(n, eigenvalues, i, j)


def test_moments_of_degree_five_are_wicks():
    """E tr(Sigma H^3 Sigma^-1 H^2) over 945 pairings, for another spectrum."""
    assert loss_matrix(3, [1, Fraction(1, 9), 4], 3)[3, 2] == wick(3, [1, Fraction(1, 9), 4], 3, 2)


@pytest.mark.parametrize(("n", "eigenvalues"), [(2, [1.0, 0.25]), (3, [2.0, 0.5]), (2, [1.0, 0.25, 3.0])])
def test_moments_are_gauss_hermites(n, eigenvalues):
    """Up to degree 6, by quadrature over all n d entries with 7 nodes each, exact up to degree 13 in every entry."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    size, d = n * len(eigenvalues), len(eigenvalues)
    z = np.stack(np.meshgrid(*[nodes] * size, indexing="ij"), axis=-1).reshape(-1, n, d)
    weight = np.prod(np.meshgrid(*[weights / np.sum(weights)] * size, indexing="ij"), axis=0).reshape(-1)
    powers = hessian_powers(z * np.sqrt(eigenvalues), 3)
    values = np.asarray(eigenvalues)
    expected = [[np.sum(weight * error(values, left, right)) for right in powers] for left in powers]
    np.testing.assert_allclose(loss_matrix(n, eigenvalues, 3).astype(float), expected, rtol=1e-12)


def hessian_powers(x, order):
    """I, H, ..., H^order for every design matrix."""
    h = np.swapaxes(x, 1, 2) @ x / x.shape[1]
    powers = [np.broadcast_to(np.eye(x.shape[2]), h.shape)]
    for _ in range(order):
        powers.append(powers[-1] @ h)
    return powers


def error(values, left, right):
    """tr(Sigma A Sigma^-1 B) for every pair of matrices A, B; Sigma diagonal."""
    return np.einsum("i,bij,j,bji->b", values, left, 1 / values, right)


@pytest.mark.parametrize("name", EIGENVALUES)
def test_moments_are_the_means_of_draws(name):
    """At n = 20, d = 5 and up to degree 8, the mean over 20,000 drawn prompts, within four standard errors."""
    values = np.asarray(EIGENVALUES[name], dtype=float)
    x = np.random.default_rng(3).normal(size=(20_000, N, D)) * np.sqrt(values)
    powers = hessian_powers(x, DEPTH)
    for i, j in np.ndindex(DEPTH + 1, DEPTH + 1):
        draws = error(values, powers[i], powers[j])
        exact = float(MATRIX[name][i, j])
        assert abs(np.mean(draws) - exact) <= 4.0 * np.std(draws) / np.sqrt(len(draws)) + 1e-12


@pytest.mark.parametrize("eigenvalues", [COLOURED, [2, 2, 2], [Fraction(1, 3)]])
def test_low_moments_have_closed_forms(eigenvalues):
    """E H = Sigma; E tr H^2, E tr(Sigma H Sigma^-1 H) and E tr H^3 in the traces of Sigma."""
    n, d = 7, len(eigenvalues)
    t1, t2, t3 = (sum(Fraction(value) ** power for value in eigenvalues) for power in (1, 2, 3))
    matrix = loss_matrix(n, eigenvalues, 3)
    assert matrix[0, 0] == d
    assert matrix[0, 1] == t1
    assert matrix[0, 2] == Fraction(1, n) * ((n + 1) * t2 + t1**2)
    assert matrix[1, 1] == Fraction(n + 1 + d, n) * t2
    assert matrix[0, 3] == Fraction(1, n**2) * ((n**2 + 3 * n + 4) * t3 + 3 * (n + 1) * t1 * t2 + t1**3)


def test_moments_in_one_dimension():
    """For d = 1, H is s chi^2_n / n, whose k-th moment is s^k n (n+2) ... (n+2k-2) / n^k."""
    n, s = 6, Fraction(3, 5)
    matrix = loss_matrix(n, [s], 4)
    for i, j in np.ndindex(5, 5):
        factors = [s * Fraction(n + 2 * k, n) for k in range(i + j)]
        assert matrix[i, j] == np.prod(np.array([Fraction(1), *factors], dtype=object))


@cache
def wishart_trace(n, d, degrees):
    """E of the product of tr W^k over the degrees, W white, by the recursion of words that have lost their letters."""
    if not degrees:
        return 1
    if degrees[-1] == 0:
        return d * wishart_trace(n, d, degrees[:-1])

    def rest(*new, without=None):
        kept = [m for place, m in enumerate(degrees[1:]) if place != without]
        return wishart_trace(n, d, tuple(sorted([*new, *kept], reverse=True)))

    k = degrees[0] - 1
    total = (n + k) * rest(k) + sum(rest(j + 1, k - 1 - j) for j in range(k))
    return total + sum(2 * m * rest(k + m, without=place) for place, m in enumerate(degrees[1:]))


def test_white_moments_obey_the_recursion_of_lengths():
    """E tr H^k up to k = 26 for Sigma = I, by the recursion over partitions of k."""
    matrix = loss_matrix(N, WHITE, 8)
    for i, j in np.ndindex(9, 9):
        assert matrix[i, j] == Fraction(wishart_trace(N, D, (i + j,)), N ** (i + j))
    assert loss_matrix(N, WHITE, 13)[13, 13] == Fraction(wishart_trace(N, D, (26,)), N**26)


@pytest.mark.parametrize("order", range(DEPTH + 1))
def test_the_two_kinds_of_words_agree(order):
    """Next to Sigma = I the words with letters give what the words without letters give: M is continuous."""
    near = loss_matrix(N, [1, 1, 1, 1, 1 + Fraction(1, 10**12)], order).astype(float)
    np.testing.assert_allclose(near, loss_matrix(N, WHITE, order).astype(float), rtol=1e-10)


def test_scale_and_order_of_the_eigenvalues():
    """Sigma -> c Sigma multiplies M_ij by c^(i+j), and the order of eigenvalues is nothing; so the limit does not change."""
    scaled = [Fraction(3, 7) * value for value in COLOURED[::-1]]
    matrix = loss_matrix(N, scaled, DEPTH)
    for i, j in np.ndindex(matrix.shape):
        assert matrix[i, j] == Fraction(3, 7) ** (i + j) * MATRIX["coloured"][i, j]
    assert optimal_polynomial(matrix)[0] == optimal_polynomial(MATRIX["coloured"])[0]
    np.testing.assert_allclose(limit(N, [0.5] * D, 3), limit(N, WHITE, 3), rtol=1e-14)


# --- the least loss ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "eigenvalues", "log_losses"),
    [
        (20, WHITE, [0.143, -1.018, -2.013, -2.901, -3.698, -4.420, -5.078, -5.683]),
        (19, WHITE, [0.182, -0.937, -1.892, -2.743]),
        (20, COLOURED, [0.810, 0.444, 0.152, -0.142]),
    ],
    ids=["white", "one-example-fewer", "coloured"],
)
def test_the_limit_in_numbers(n, eigenvalues, log_losses):
    """Natural logarithms of the loss for d = 5, to three decimals; zero steps leave d."""
    losses = limit(n, eigenvalues, len(log_losses))
    assert losses[0] == D
    np.testing.assert_allclose(np.log(losses[1:]), log_losses, rtol=0.0, atol=6e-4)


@pytest.mark.parametrize(("n", "d"), [(20, 5), (3, 8), (1, 1)])
def test_one_step_in_closed_form(n, d):
    """d (1 - 1 / (1 + (d+1)/n)), at the step size 1 / (1 + (d+1)/n)."""
    shrink = 1 / (1 + (d + 1) / n)
    np.testing.assert_allclose(limit(n, [1] * d, 1), [d, d * (1 - shrink)], rtol=1e-14)
    np.testing.assert_allclose(optimal_steps(n, d, 1), [shrink], rtol=1e-14)


@given(
    name=st.sampled_from(sorted(EIGENVALUES)),
    coefficients=st.lists(st.floats(-10, 10), min_size=DEPTH, max_size=DEPTH),
)
def test_no_polynomial_does_better(name, coefficients):
    """For p(0) = 1, p'M p - limit = (p - best)'M (p - best) >= 0, in exact arithmetic."""
    least, best = optimal_polynomial(MATRIX[name])
    p = np.array([Fraction(1), *map(Fraction, coefficients)], dtype=object)
    gap = p @ MATRIX[name] @ p - least
    assert best[0] == 1
    assert gap == (p - best) @ MATRIX[name] @ (p - best)
    assert gap >= 0


@pytest.mark.parametrize("name", EIGENVALUES)
def test_the_limit_falls_with_depth_and_whitening_lowers_it(name):
    """A step more helps, and so does the preconditioner Sigma^-1 on coloured prompts."""
    losses = limit(N, EIGENVALUES[name], DEPTH)
    assert np.all(np.diff(losses) < 0)
    assert np.all(losses >= limit(N, WHITE, DEPTH))


def test_optimal_polynomials_are_orthogonal():
    """integral lambda p_s p_t dmu = 0 for s != t, exactly, with mu the expected spectrum for Sigma = I."""
    order = 6
    matrix = loss_matrix(N, WHITE, order)
    best = [optimal_polynomial(matrix[: k + 1, : k + 1])[1] for k in range(order)]
    for s, t in np.ndindex(order, order):
        inner = best[s] @ matrix[: s + 1, 1 : t + 2] @ best[t]  # the shift by one column multiplies by lambda
        assert (inner == 0) == (s != t)


def test_loss_of_the_optimum_has_no_slope():
    """loss_of gives the limit, and its derivative at the optimum vanishes in every coefficient that is free."""
    matrix = jnp.asarray(MATRIX["coloured"].astype(float))
    best = np.zeros((DEPTH + 1, DEPTH + 1))
    for k in range(DEPTH + 1):
        best[k, : k + 1] = optimal_polynomial(MATRIX["coloured"][: k + 1, : k + 1])[1].astype(float)
    np.testing.assert_allclose(loss_of(jnp.asarray(best), matrix), limit(N, COLOURED, DEPTH), rtol=1e-12)
    slopes = jax.grad(lambda p: jnp.sum(loss_of(p, matrix)))(jnp.asarray(best))
    for k in range(DEPTH + 1):
        np.testing.assert_allclose(slopes[k, 1 : k + 1], 0.0, rtol=0.0, atol=1e-10)


# --- methods that attain it ----------------------------------------------------------------------------------------------


def exactly(values):
    """Floats as the rational numbers that they are, so that no test rounds after the library has."""
    return np.array([Fraction(float(value)) for value in values], dtype=object)


def momentum_polynomials(alpha, gamma):
    """The residual polynomials of momentum: q_t = -lambda p_t + gamma_t q_{t-1}, p_{t+1} = p_t + alpha_t q_t."""
    p, q = exactly(np.eye(1, len(alpha) + 1)[0]), exactly(np.zeros(len(alpha) + 1))
    polynomials = [p]
    for a, g in zip(exactly(alpha), exactly(gamma), strict=True):
        q = g * q - np.roll(p, 1)
        p = p + a * q
        polynomials.append(p)
    return polynomials


def descent_polynomial(steps):
    """prod (1 - eta_t lambda), the residual polynomial of gradient descent."""
    p = exactly([1.0])
    for step in exactly(steps):
        p = np.convolve(p, np.array([Fraction(1), -step], dtype=object))
    return p


@pytest.mark.parametrize(("n", "d"), [(20, 5), (19, 5), (3, 8), (40, 10)])
def test_momentum_attains_the_limit_at_every_depth(n, d):
    """One schedule is optimal after every number of steps."""
    depth = 6
    matrix = loss_matrix(n, [1] * d, depth)
    polynomials = momentum_polynomials(*optimal_momentum(n, d, depth))
    losses = [float(p @ matrix @ p) for p in polynomials]
    np.testing.assert_allclose(losses, limit(n, [1] * d, depth), rtol=1e-14)
    # in floats the sum over p'M p cancels; up to depth 4 it keeps ten digits
    rows = jnp.asarray(np.array(polynomials[: DEPTH + 1], dtype=float)[:, : DEPTH + 1])
    in_floats = loss_of(rows, jnp.asarray(matrix[: DEPTH + 1, : DEPTH + 1].astype(float)))
    np.testing.assert_allclose(in_floats, losses[: DEPTH + 1], rtol=1e-10)


def test_momentum_in_numbers():
    """For n = 20, d = 5, to three decimals."""
    alpha, gamma = optimal_momentum(20, 5, 4)
    np.testing.assert_allclose(alpha, [0.769, 0.837, 0.775, 0.718], rtol=0.0, atol=6e-4)
    np.testing.assert_allclose(gamma, [0.0, 0.189, 0.310, 0.373], rtol=0.0, atol=6e-4)


def test_the_limit_is_met_by_draws():
    """Momentum run on 20,000 drawn prompts, preconditioned by Sigma^-1: its mean error at the query is the whitened limit."""
    rng = np.random.default_rng(4)
    sigma = np.asarray(COLOURED, dtype=float)
    x = rng.normal(size=(20_000, N, D)) * np.sqrt(sigma)
    target = rng.normal(size=(20_000, D)) / np.sqrt(sigma)
    y = np.einsum("bnd,bd->bn", x, target)
    w, s = np.zeros_like(target), np.zeros_like(target)
    expected = limit(N, WHITE, DEPTH)
    for t, (alpha, gamma) in enumerate(zip(*optimal_momentum(N, D, DEPTH), strict=True)):
        gradient = np.einsum("bnd,bn->bd", x, np.einsum("bnd,bd->bn", x, w) - y) / N
        s = gamma * s - gradient / sigma
        w = w + alpha * s
        errors = np.sum(sigma * (w - target) ** 2, axis=1)
        assert abs(np.mean(errors) - expected[t + 1]) <= 4.0 * np.std(errors) / np.sqrt(len(errors))


@pytest.mark.parametrize("depth", range(9))
@pytest.mark.parametrize(("n", "d"), [(20, 5), (3, 8)])
def test_steps_attain_the_limit_at_their_depth(n, d, depth):
    """prod (1 - eta_t lambda) is the optimal polynomial: no two steps are equal, and all are positive."""
    steps = optimal_steps(n, d, depth)
    assert np.all(np.diff(steps) < 0)
    assert np.all(steps > 0)
    matrix = loss_matrix(n, [1] * d, depth)
    least, best = optimal_polynomial(matrix)
    p = descent_polynomial(steps)
    np.testing.assert_allclose(p.astype(float), best.astype(float), rtol=1e-12)
    np.testing.assert_allclose(float(p @ matrix @ p), float(least), rtol=1e-14)


@pytest.mark.parametrize("steps", [[1.250, 0.515], [1.714, 0.689, 0.422], [2.139, 0.889, 0.521, 0.362]])
def test_steps_in_numbers(steps):
    """For n = 20, d = 5, to three decimals."""
    np.testing.assert_allclose(optimal_steps(20, 5, len(steps)), steps, rtol=0.0, atol=6e-4)


# --- floors and limits of the limit --------------------------------------------------------------------------------------


def test_degree_bound():
    """The limit at degrees 0, 1, 4, 13, whose logarithms are known for n = 20, d = 5; equal to the limit for one layer."""
    floor = degree_bound(20, 5, 3)
    np.testing.assert_allclose(np.log(floor[1:]), [0.143, -2.901, -8.159], rtol=0.0, atol=6e-4)
    np.testing.assert_array_equal(floor[:3], limit(20, WHITE, 4)[[0, 1, 4]])


@given(a=st.lists(st.floats(0.0, 2.0), min_size=2, max_size=2), b=st.floats(-1.0, 1.0))
def test_two_layers_of_gd_plus_plus_stay_above_their_floor(a, b):
    """(1 - a_1 l)(1 - a_2 l (1 - b l)^2), the residual polynomial of two layers, is one of degree 4."""
    moved = np.polymul([-b, 1.0], [-b, 1.0])
    residual = np.polymul([-a[0], 1.0], np.polyadd([1.0], np.polymul([-a[1], 0.0], moved)))
    p = np.pad(residual[::-1], (0, 5 - len(residual)))[None]
    assert loss_of(jnp.asarray(p), jnp.asarray(MATRIX["white"].astype(float)))[0] >= degree_bound(N, D, 2)[2]


@pytest.mark.parametrize("ratio", [Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2)])
def test_large_dimensions_converge(ratio):
    """limit / d tends to r^k / (1 + r + ... + r^k) as 1/n: n times as large, the distance is n times smaller."""
    expected = large_dimension_limit(float(ratio), 6)

    def distance(n):
        d = int(ratio * n)
        return np.abs(limit(n, [1] * d, 6) / d - expected)[1:]

    near, far = distance(40_000), distance(4000)
    assert np.all(near <= 1e-3)
    np.testing.assert_allclose(far / near, 10.0, rtol=0.03)


def test_the_large_dimension_limit_in_other_words():
    """(1 - r) r^k / (1 - r^(k+1)) for r < 1; and 1 / (M^-1)_00 for the moments of Marchenko and Pastur."""
    k = np.arange(6)
    np.testing.assert_allclose(large_dimension_limit(0.25, 5), 0.75 * 0.25**k / (1 - 0.25 ** (k + 1)), rtol=1e-14)
    r = Fraction(1, 4)
    moments = [Fraction(1)] + [
        sum((r**i * Fraction(comb(m, i) * comb(m - 1, i), i + 1) for i in range(m)), Fraction(0)) for m in range(1, 11)
    ]
    hankel = np.array([[moments[i + j] for j in range(6)] for i in range(6)], dtype=object)
    for depth, expected in enumerate(large_dimension_limit(0.25, 5)):
        np.testing.assert_allclose(float(optimal_polynomial(hankel[: depth + 1, : depth + 1])[0]), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: loss_matrix(0, WHITE, 2), "n is 0"),
        (lambda: loss_matrix(N, [], 2), "no eigenvalues"),
        (lambda: limit(N, [1, 0], 2), "eigenvalues is 0"),
        (lambda: limit(N, WHITE, -1), "order is -1"),
        (lambda: optimal_momentum(N, 0, 2), "no eigenvalues"),
        (lambda: degree_bound(N, D, -1), "depth is -1"),
        (lambda: large_dimension_limit(0.0, 2), "ratio is 0"),
    ],
)
def test_what_is_refused(call, sentence):
    """One sentence says what was given and what is needed."""
    with pytest.raises(ValueError, match=sentence):
        call()
