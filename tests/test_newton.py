"""Inverses by products, Newton's method for linear equations with them, and the Transformers of linear attention that run both.

Matrices are U S V' with the condition that is stated, so that what is proven holds up to 1000.
"""

from functools import cache, partial
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.newton.claims import ROWS
from jaxl2o.checks import InputError
from jaxl2o.constructions.construction import gap
from jaxl2o.constructions.newton import (
    newton_least_squares,
    newton_schulz,
    newton_schulz_in_one_layer,
    third_order_inverse,
)
from jaxl2o.limits.extremes import largest_eigenvalue
from jaxl2o.models.learner import residual_stream
from jaxl2o.models.matrices import inverse_by_columns, regression_table
from jaxl2o.solvers.inverse import diagonal, inverse_by_steps, inverse_step, over_norm, over_spectrum, transposed
from jaxl2o.solvers.newton import linear_system, newton
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

SEEDS = st.integers(0, 2**31 - 1)
ORDERS = pytest.mark.parametrize("order", [2, 3, 4, 5])
CONDITIONS = pytest.mark.parametrize("condition", [1.0, 30.0, 1000.0])
D, N, STEPS = 5, 50, 4


def conditioned(rng, n: int, d: int, condition: float):
    """U S V' with singular values from 1 down to 1 / condition."""
    k = min(n, d)
    left, right = (np.linalg.qr(rng.normal(size=(size, k)))[0] for size in (n, d))
    return (left * np.logspace(0.0, -np.log10(condition), k)) @ right.T


# --- inverses -------------------------------------------------------------------------------------------------------------


@cache
def powers(order: int):
    """(V_0, A) -> V after 0..STEPS steps."""

    def run(first, matrix):
        found = [first]
        for _ in range(STEPS):
            found.append(inverse_step(found[-1], matrix, order))
        return jnp.stack(found)

    return jax.jit(run)


@ORDERS
@settings(max_examples=10)
@given(seed=SEEDS, condition=st.floats(1.0, 1000.0))
def test_the_missing_part_is_a_power(order, seed, condition):
    """I - A V_t = (I - A V_0)^(p^t), from V_0 = c A' with any c up to 2 / |A|^2."""
    rng = np.random.default_rng(seed)
    matrix = conditioned(rng, D, D, condition)
    first = rng.uniform(0.1, 1.9) * matrix.T
    for t, inverse in enumerate(np.asarray(powers(order)(first, matrix))):
        missing = np.linalg.matrix_power(np.eye(D) - matrix @ first, order**t)
        np.testing.assert_allclose(np.eye(D) - matrix @ inverse, missing, rtol=0.0, atol=1e-10)


@ORDERS
def test_a_step_is_the_papers_sum(order):
    """V sum_{m<p} (-1)^m C(p, m+1) (A V)^m, for any V."""
    rng = np.random.default_rng(0)
    matrix, inverse = rng.normal(size=(2, D, D))
    terms = [(-1) ** m * comb(order, m + 1) * np.linalg.matrix_power(matrix @ inverse, m) for m in range(order)]
    expected = inverse @ sum(terms)
    found = np.asarray(powers(order)(inverse, matrix))[1]
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("n", "d"), [(5, 5), (9, 5), (5, 9)])
def test_all_starts_lead_to_the_pseudo_inverse(n, d):
    """From A' / |A|_F^2, from A' / (s_max^2 + s_min^2) and from c A' the steps end at A^+, of every shape."""
    rng = np.random.default_rng(1)
    matrix = jnp.asarray(conditioned(rng, n, d, 10.0))
    for start in (over_norm, over_spectrum, transposed(1.0)):
        np.testing.assert_allclose(inverse_by_steps(matrix, start, 14), np.linalg.pinv(matrix), rtol=0.0, atol=1e-11)
    positive = matrix.T @ matrix + jnp.eye(d)
    np.testing.assert_allclose(inverse_by_steps(positive, diagonal(0.6), 6), np.linalg.inv(positive), atol=1e-13)
    assert (np.asarray(over_norm(jnp.zeros((n, d)))) == 0.0).all()
    assert (np.asarray(over_spectrum(jnp.zeros((n, d)))) == 0.0).all()


def test_the_number_of_steps():
    """From c = 2 / (s_max^2 + s_min^2) with |I - A V_0| = r the error is r^(2^T), so 1e-9 takes log2(log 1e-9 / log r)."""
    matrix = jnp.asarray(conditioned(np.random.default_rng(2), D, D, 100.0))
    scale = 2.0 / (1.0 + 1e-4)
    steps = int(np.ceil(np.log2(np.log(1e-9) / np.log(1.0 - scale * 1e-4))))
    missing = [
        np.linalg.norm(np.eye(D) - matrix @ inverse_by_steps(matrix, transposed(scale), count), 2)
        for count in (steps - 1, steps)
    ]
    assert missing[1] <= 1.1e-9 < missing[0]


# --- least squares ----------------------------------------------------------------------------------------------------------


def draw(rng, condition: float = 10.0, n: int = 20) -> Prompt:
    """n examples with X'X / n of this condition, labels from N(0, 1), a start and one query."""
    x = np.sqrt(n) * conditioned(rng, n, D, np.sqrt(condition))
    return Prompt.of(x, rng.normal(size=n), rng.normal(size=(1, D)), start=jnp.asarray(rng.normal(size=D)))


@pytest.mark.parametrize("order", [2, 3])
def test_newton_for_least_squares_and_ridge(order):
    """w_t - w* = (I - c H^2)^(p^t) (s - w*) with H = X'X / n + mu I, w* = H^-1 X'y / n, from every start s."""
    rng = np.random.default_rng(3)
    run = jax.jit(lambda prompt, mu: unroll(newton(transposed(0.4), order, mu), prompt, STEPS))
    for penalty in (0.0, 0.3):
        prompt = draw(rng)
        x, y, start = (np.asarray(value) for value in (prompt.x, prompt.y, prompt.start))
        hessian = x.T @ x / 20 + penalty * np.eye(D)
        answer, missing = np.linalg.solve(hessian, x.T @ y / 20), np.eye(D) - 0.4 * hessian @ hessian
        left = [np.linalg.matrix_power(missing, order**t) @ (start - answer) for t in range(STEPS + 1)]
        np.testing.assert_allclose(run(prompt, jnp.asarray(penalty)), answer + np.stack(left), rtol=0.0, atol=1e-12)


def test_unused_rows_and_the_order_of_examples_do_not_matter():
    """Examples may stand anywhere among unused rows; without any the answer is zero, or the start."""
    prompt, order = draw(np.random.default_rng(4), n=12), np.random.default_rng(5).permutation(15)
    padded = Prompt.of(
        jnp.pad(prompt.x, ((0, 3), (0, 0)))[order], jnp.pad(prompt.y, (0, 3))[order], used=order < 12, start=prompt.start
    )
    solver = newton(transposed(0.4), penalty=0.1)
    np.testing.assert_allclose(unroll(solver, padded, 2), unroll(solver, prompt, 2), rtol=0.0, atol=1e-13)
    nothing = Prompt.of(np.zeros((0, D)), np.zeros(0))
    for solver in (newton(over_norm), newton(transposed(1.0)), linear_system(over_norm)):
        assert (np.asarray(unroll(solver, nothing, 2)) == 0.0).all()


def test_an_order_below_two_is_refused():
    """Order one would never move."""
    with pytest.raises(InputError, match="order is 1"):
        newton(over_norm, order=1)


# --- Transformers -----------------------------------------------------------------------------------------------------------

SQUARE = {
    "two layers": (partial(newton_schulz, D, 26), 2, 2, 4 * D),
    "one layer": (partial(newton_schulz_in_one_layer, D, 26), 1, 2, 3 * D),
    "third order": (partial(third_order_inverse, D, 16), 2, 2, 4 * D),
}


@pytest.mark.parametrize("name", SQUARE)
def test_the_papers_counts_of_inverses(name):
    """Layers of the one block that all steps share, heads, width; no MLP."""
    make, layers, heads, width = SQUARE[name]
    config = make(1.0).config
    assert (config.depth, config.heads, config.width, config.mlp_dim) == (layers, heads, width, 0)
    assert config.repeats in (16, 26)
    assert config.attention == "linear"


@pytest.mark.parametrize(("penalty", "steps"), [(0.0, 7), (0.2, 3)])
def test_the_papers_counts_of_least_squares(penalty, steps):
    """3 + T layers, 2 heads, width 4d + 3; no MLP; T steps end at layer 3 + T."""
    construction = newton_least_squares(D, steps, 0.1, penalty)
    config = construction.config
    assert (config.depth, config.repeats, config.heads, config.width, config.mlp_dim) == (3 + steps, 1, 2, 4 * D + 3, 0)
    assert construction.at == ((steps, 3 + steps),)


@cache
def square_gap(name: str):
    """(scale, prompt) -> the gap, and the largest |I - A V_T|, from what slot v holds at the end."""
    make = SQUARE[name][0]

    def run(scale, prompt):
        construction = make(scale)
        stream = residual_stream(construction.config, construction.encoding)(construction.params, prompt)
        inverse = stream[-1, :, :D].T
        return gap(construction, prompt), jnp.max(jnp.abs(jnp.eye(D) - prompt.x @ inverse))

    return jax.jit(run)


@CONDITIONS
@pytest.mark.parametrize("name", SQUARE)
def test_transformers_invert_matrices(name, condition):
    """Every layer is the iteration's, to 1e-10, for conditions up to 1000; and slot v ends at the inverse of any square A."""
    rng = np.random.default_rng(6)
    x_query, start = rng.normal(size=(3, D)), jnp.asarray(rng.normal(size=D))
    prompt = Prompt.of(conditioned(rng, D, D, condition), rng.normal(size=D), x_query, start=start)
    exact, missing = square_gap(name)(jnp.asarray(1.0), prompt)
    assert exact <= 1e-10
    assert missing <= 1e-8


@cache
def regression_gap():
    """(scale, penalty, prompt) -> the gap of 34 layers, their answer, and V and R after layer 1 + T."""

    def run(scale, penalty, prompt):
        construction = newton_least_squares(D, 31, scale, penalty)
        stream = residual_stream(construction.config, construction.encoding)(construction.params, prompt)
        inverse, gram = (stream[32, :D, at].T for at in map(construction.encoding.layout.slice, "vr"))
        return gap(construction, prompt), stream[-1, 0, -1], inverse, gram

    return jax.jit(run)


@CONDITIONS
@pytest.mark.parametrize("penalty", [0.0, 0.01])
def test_transformers_predict_by_least_squares_and_ridge(condition, penalty):
    """N(0, Sigma) with Sigma of condition up to 1000: exact to 1e-10, and the prediction is that of lstsq, or of ridge.

    The start of the inverse is a number for the law, 1 / (L + mu)^2 with L the bound on |X'X / n|, by which no prompt fails.
    """
    rng, scale = np.random.default_rng(7), 1.0 / (largest_eigenvalue(N, D) + penalty) ** 2
    for _ in range(3):
        x = rng.normal(size=(N, D)) @ conditioned(rng, D, D, np.sqrt(condition))
        prompt = Prompt.of(x, rng.normal(size=N), rng.normal(size=(1, D)), start=jnp.asarray(rng.normal(size=D)))
        exact, answer, inverse, gram = regression_gap()(jnp.asarray(scale), jnp.asarray(penalty), prompt)
        hessian = x.T @ x / N + penalty * np.eye(D)
        assert exact <= 1e-10
        expected = np.asarray(prompt.x_query)[0] @ np.linalg.solve(hessian, x.T @ prompt.y / N)
        np.testing.assert_allclose(answer, expected, rtol=1e-7)
        np.testing.assert_allclose(gram, hessian, rtol=0.0, atol=1e-14)
        np.testing.assert_allclose(inverse @ hessian, np.eye(D), rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("n", [2, 7])
def test_one_set_of_parameters_serves_every_length(n):
    """The weights do not depend on n, which the encoding bears; there are never fewer tokens than features."""
    rng = np.random.default_rng(8)
    construction = newton_least_squares(D, 3, 0.01, 0.1)
    prompt = Prompt.of(rng.normal(size=(n, D)), rng.normal(size=n), rng.normal(size=(1, D)))
    assert construction.encoding.tokens(prompt).z.shape == (max(n, D), 4 * D + 3)
    assert jax.jit(partial(gap, construction))(prompt) <= 1e-13


def test_tables_take_what_fits():
    """A square matrix for an inverse; one query for a regression."""
    prompt = Prompt.of(np.ones((3, D)), np.ones(3), np.ones((2, D)))
    with pytest.raises(InputError, match="x has shape"):
        inverse_by_columns(D, 1.0).tokens(prompt)
    with pytest.raises(InputError, match="one query, got 2"):
        regression_table(D).tokens(prompt)


@pytest.mark.parametrize(("n", "d", "failure"), [(20, 5, 0.05), (5, 5, 0.3), (100, 10, 0.01)])
def test_the_bound_on_the_largest_eigenvalue(n, d, failure):
    """Of 2000 X'X / n from N(0, I) no more than the share `failure` are above; it falls in n, and tends to 1."""
    x = np.random.default_rng(9).normal(size=(2000, n, d))
    largest = np.linalg.norm(x, ord=2, axis=(1, 2)) ** 2 / n
    assert np.mean(largest > largest_eigenvalue(n, d, failure)) <= failure
    assert 1.0 < largest_eigenvalue(10**9, d, failure) < 1.001 < largest_eigenvalue(2 * n, d, failure)
    assert largest_eigenvalue(2 * n, d, failure) < largest_eigenvalue(n, d, failure)


def test_the_expected_rows_are_means_over_spectra():
    """E sum_i (1 - a l_i^2)^(2 p^t) / d, l the eigenvalues of X'X, X 50 x 10, is what `newton/orders-condition-1` expects."""
    x = np.random.default_rng(3).normal(size=(20_000, 50, 10))
    squares = np.linalg.eigvalsh(np.swapaxes(x, 1, 2) @ x) ** 2
    left = 1.0 - squares / (squares[:, :1] + squares[:, -1:])
    for order, (row, known) in ROWS.items():
        errors = np.stack([np.mean(left ** (2 * order**t), axis=1) for t in range(len(row))])
        spread = np.hypot(errors.std(axis=1, ddof=1) / np.sqrt(len(x)), known)
        assert (np.abs(errors.mean(axis=1) - row) <= 4.0 * spread).all()
