"""The exact losses of the mixture's experts, against SciPy's moments and against draws."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from experiments.memformer.mixture import MEANS, VARIANCES, gaussian_moments, least, loss_matrix

COMPONENTS = pytest.mark.parametrize(("mean", "variance"), list(zip(MEANS, VARIANCES, strict=True)))


@COMPONENTS
def test_moments_are_scipys(mean, variance):
    """E x^k for k up to eight."""
    found = gaussian_moments(Fraction(mean), Fraction(variance), 8)
    expected = [scipy.stats.norm(mean, variance**0.5).moment(k) for k in range(1, 9)]
    np.testing.assert_allclose(np.array(found[1:], dtype=float), expected, rtol=1e-10)


@COMPONENTS
def test_losses_are_those_of_draws(mean, variance):
    """p'M p is the mean of (x w p(H))^2 over draws, within four standard errors, for a polynomial and three examples."""
    rng, p = np.random.default_rng(0), np.array([1.0, -0.2, 0.01])
    x, w, query = (mean + variance**0.5 * rng.normal(size=size) for size in ((400_000, 3), 400_000, 400_000))
    hessian = np.mean(x**2, axis=1)
    errors = (query * w * (p[0] + p[1] * hessian + p[2] * hessian**2)) ** 2
    exact = float(p @ loss_matrix(3, mean, variance, 2).astype(float) @ p)
    assert abs(errors.mean() - exact) <= 4.0 * errors.std() / np.sqrt(errors.size)


def test_one_step_of_a_centred_component():
    """The least loss after one step is E x^2 E w^2 Var(H) / E H^2: for N(0, 1) and n examples 2 / (n + 2)."""
    np.testing.assert_allclose(least(loss_matrix(20, 0.0, 1.0, 1)), [1.0, 2.0 / 22.0], rtol=1e-12)
