"""recover obeys the units of its user, whatever the method; and it recovers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from jaxl2o.checks import InputError
from jaxl2o.methods import METHODS, lasso_at
from jaxl2o.recover import recover
from jaxl2o.solvers.proximal import penalty_max
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.varying import VaryingLayers, lista_vm
from jaxl2o.types import Prompt

N, D = 12, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) * RNG.uniform(0.5, 3.0, size=D)
BETA = np.zeros(D)
BETA[[2, 7, 11]] = [1.5, -2.0, 0.8]
Y = X @ BETA + 0.05 * RNG.normal(size=N)
LAYERS = VaryingLayers(jnp.asarray(0.5 * RNG.normal(size=(3, D, D)) / D + np.eye(D)), jnp.asarray([0.1, 0.05, 0.01]))


def network(prompt):
    """The last iterate of LISTA-VM with some layers."""
    return unroll(lista_vm(LAYERS), prompt, 3, keep="last")


# what ships is tested apart, and so are theorems and solvers
CLASSICAL = {name: METHODS[name].answer for name in ("lasso", "minimum_norm")}
EVERY_METHOD = {**CLASSICAL, "lista-vm": network}
FOR_EVERY_METHOD = pytest.mark.parametrize("name", EVERY_METHOD)
NUMBERS = st.floats(1e-3, 1e3).flatmap(lambda c: st.sampled_from([c, -c]))


def answer(name, x=X, y=Y):
    """recover by a method of the table: by name if the library has it."""
    return recover(x, y, name if name in METHODS else EVERY_METHOD[name])


@FOR_EVERY_METHOD
@given(c=st.one_of(NUMBERS, st.sampled_from([0.0, 1e-8, -1e-8, 1e8, -1e8])))
def test_scaling_the_labels(name, c):
    """recover(X, c y) = c recover(X, y), in float64."""
    found = answer(name, y=c * Y)
    assert found.dtype == np.float64
    assert np.any(answer(name) != 0.0)
    np.testing.assert_allclose(found, c * answer(name), rtol=1e-6, atol=1e-7 * abs(c))


@FOR_EVERY_METHOD
@given(scale=NUMBERS, place=st.integers(0, D - 1))
def test_scaling_a_column(name, scale, place):
    """A column times s has its coefficient divided by s, and no other changes."""
    factor = np.ones(D)
    factor[place] = abs(scale)
    np.testing.assert_allclose(answer(name, X * factor) * factor, answer(name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CLASSICAL)
@given(scale=NUMBERS, place=st.integers(0, D - 1))
def test_flipping_a_column(name, scale, place):
    """Classical methods do not know the sign of a column: its coefficient changes sign with it."""
    factor = np.ones(D)
    factor[place] = scale
    np.testing.assert_allclose(answer(name, X * factor) * factor, answer(name), rtol=1e-6, atol=1e-7)


@FOR_EVERY_METHOD
@given(order=st.permutations(range(N)))
def test_the_order_of_rows_does_not_matter(name, order):
    """The same rows in another order give the same coefficients."""
    np.testing.assert_allclose(answer(name, X[order], Y[order]), answer(name), rtol=1e-6, atol=1e-7)


@FOR_EVERY_METHOD
def test_a_column_of_zeros(name):
    """A column of zeros gets exactly the coefficient 0, and the rest is finite."""
    x = X.copy()
    x[:, [0, 7]] = 0.0
    found = answer(name, x)
    assert np.all(found[[0, 7]] == 0.0)
    assert np.all(np.isfinite(found))
    assert np.any(found != 0.0)


@FOR_EVERY_METHOD
@pytest.mark.parametrize(
    ("x", "y"), [(np.zeros((0, D)), np.zeros(0)), (X, np.zeros(N)), (np.zeros((N, D)), Y)], ids=["no rows", "y = 0", "x = 0"]
)
def test_nothing_to_recover(name, x, y):
    """Without rows, or with y = 0 or X = 0, the answer is exactly zero."""
    found = answer(name, x, y)
    assert found.shape == (D,)
    assert np.all(found == 0.0)


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e200])
def test_extreme_units(scale):
    """Units whose squares underflow or overflow are no trouble."""
    np.testing.assert_allclose(recover(scale * X, Y) * scale, recover(X, Y), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(recover(X, scale * Y) / scale, recover(X, Y), rtol=1e-6, atol=1e-9)


def test_a_planted_signal_is_found():
    """Without noise the Lasso of a small penalty has the support of a sparse signal, and its values to 1 %."""
    found = recover(X, X @ BETA, lasso_at(2e-4))
    np.testing.assert_array_equal(np.abs(found) > 0.05, BETA != 0.0)
    np.testing.assert_allclose(found, BETA, atol=1e-2 * np.abs(BETA).max())


def test_a_planted_signal_is_found_exactly_by_enough_rows():
    """Without noise, d independent rows determine any signal: minimum norm finds it."""
    rng = np.random.default_rng(3)
    x, beta = rng.normal(size=(D + 2, D)), rng.normal(size=D)
    np.testing.assert_allclose(recover(x, x @ beta, "minimum_norm"), beta, rtol=1e-9)


def normalised(x, y):
    """Columns and labels of mean square one, and what they were divided by."""
    column, label = np.sqrt(np.mean(x**2, axis=0)), np.sqrt(np.mean(y**2))
    return x / column, y / label, label / column


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5])
def test_the_lasso_is_scikit_learns(fraction):
    """recover by the Lasso is scikit-learn's Lasso on normalised data, in the user's units again."""
    x, y, unit = normalised(X, Y)
    alpha = fraction * np.abs(x.T @ y).max() / N
    expected = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=1_000_000).fit(x, y).coef_ * unit
    np.testing.assert_allclose(recover(X, Y, lasso_at(fraction, tolerance=1e-13, max_steps=200_000)), expected, atol=1e-5)


@pytest.mark.parametrize("fraction", [1.0, 2.0])
def test_the_largest_penalty_gives_zero(fraction):
    """From penalty_max on, the Lasso's answer is zero."""
    assert np.all(recover(X, Y, lasso_at(fraction)) == 0.0)


def test_a_method_sees_normalised_data_in_float64():
    """Columns and labels of mean square 1, all rows used, no queries, float64 even where JAX's default is float32."""
    seen = []

    def spy(prompt: Prompt):
        jax.debug.callback(lambda *arrays: seen.append(arrays), prompt.x, prompt.y, prompt.used)
        assert prompt.x_query is None
        assert prompt.x.dtype == jnp.float64
        return prompt.x.T @ prompt.y / penalty_max(prompt)

    with jax.enable_x64(False):
        found = recover(X.astype(np.float32), Y.astype(np.float32).tolist(), spy)
    jax.effects_barrier()
    [(x, y, used)] = seen
    np.testing.assert_allclose(np.mean(np.asarray(x) ** 2, axis=0), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.mean(np.asarray(y) ** 2), 1.0, rtol=1e-12)
    assert np.all(used)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (np.float64, (D,))


BAD = {
    "unknown method": (
        lambda: recover(X, Y, "omp"),
        r"there is no method 'omp'; choose one of lasso, minimum_norm, .*\.$",
    ),
    "x is a vector": (lambda: recover(Y, Y), r"x has shape \(12,\); it must have shape \(any, any\)\."),
    "y is a matrix": (lambda: recover(X, X), r"y has shape \(12, 20\); it must have shape \(12,\)\."),
    "y is too short": (lambda: recover(X, Y[1:]), r"y has shape \(11,\); it must have shape \(12,\)\."),
    "NaN in x": (lambda: recover(np.where(X > 5.0, np.nan, X), Y), r"x has \d+ non-finite values; give finite numbers"),
    "infinity in y": (lambda: recover(X, np.append(Y[1:], np.inf)), r"y has 1 non-finite values; give finite numbers"),
    "a method nearby": (lambda: recover(X, Y, "conjugate gradient"), r"did you mean 'conjugate_gradient'\?$"),
    "a method that diverges": (
        lambda: recover(X, Y, lambda prompt: prompt.x[0] / 0.0),
        r"the method diverged on these x and y;",
    ),
    "answer too short": (lambda: recover(X, Y, lambda prompt: prompt.x[0, 1:]), r"the method's answer has shape \(19,\)"),
    "answer of a path": (lambda: recover(X, Y, lambda prompt: prompt.x), r"the method's answer has shape \(12, 20\)"),
    "negative fraction": (lambda: lasso_at(-0.1), r"fraction is -0\.1; it must be greater than zero\."),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name):
    """What does not fit is refused in one sentence."""
    call, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
