"""What the experiment on mixtures computes beside the library: slopes, closed forms of its rows, and fits of its tables."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from experiments.mixture.claims import slope_of
from experiments.mixture.methods import Setting, least_squares
from experiments.mixture.tables import TABLES, known, likelihood
from jaxl2o.tasks.mixture import unit_norm
from jaxl2o.types import Prompt


def test_the_slope_of_a_power_law():
    """Errors c n^-p, alike for all prompts: the slope is -p, and its interval a point; with spread, an interval around it."""
    lengths = np.array([128, 256, 1024, 8192])
    exactly = 3.0 * lengths[:, None] ** -0.25 * np.ones((1, 50))
    slope, interval = slope_of(lengths, exactly)
    np.testing.assert_allclose((slope, *interval), -0.25, rtol=1e-12)
    noisy = exactly * np.random.default_rng(0).lognormal(sigma=0.3, size=exactly.shape)
    slope, (low, high) = slope_of(lengths, noisy)
    assert low < slope < high
    assert low < -0.25 < high
    assert 0.01 < high - low < 0.1


@pytest.mark.parametrize(("count", "n", "noise"), [(2, 64, 1.0), (3, 20, 0.2), (5, 512, 0.1)])
def test_the_closed_excess_of_rows(count, n, noise):
    """kappa (1 - a) with a = kappa n / ((n - 1) kappa + d + 2 + d sigma^2) and kappa = 1 / K, for components of norm one."""
    d, kappa = 8, 1.0 / count
    setting = Setting(unit_norm(d, count), d, count, n, 1, 1, 1)
    a = kappa * n / ((n - 1) * kappa + d + 2 + d * noise**2)
    np.testing.assert_allclose(setting.closed(noise), kappa * (1.0 - a), rtol=1e-10)


def prompt_of(n=40):
    """Two groups of different lines, and which rows are in the first."""
    rng = np.random.default_rng(3)
    x, group = rng.normal(size=n), rng.random(n) < 0.4
    y = np.where(group, 1.0 + 0.5 * x, -1.0 - 0.2 * x) + 0.1 * rng.normal(size=n)
    return Prompt.of(np.stack([np.ones(n), x], axis=1), y), group


def test_known_components_are_scikit_learns():
    """Least squares of each group, shares of rows, and one noise; the likelihood is that of the two Gaussian densities."""
    prompt, group = prompt_of()
    mixture = known(prompt, jnp.stack([group, ~group], axis=1).astype(float))
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    models = [LinearRegression(fit_intercept=False).fit(x[rows], y[rows]) for rows in (group, ~group)]
    np.testing.assert_allclose(mixture.components, [model.coef_ for model in models], rtol=1e-10)
    np.testing.assert_allclose(mixture.weights, [group.mean(), 1.0 - group.mean()], rtol=1e-12)
    errors = np.stack([y - model.predict(x) for model in models], axis=1)
    noise = np.sqrt(np.mean(np.where(group, errors[:, 0], errors[:, 1]) ** 2))
    np.testing.assert_allclose(mixture.noise, noise, rtol=1e-10)
    density = np.exp(-0.5 * (errors / noise) ** 2) / (noise * np.sqrt(2.0 * np.pi)) @ np.asarray(mixture.weights)
    np.testing.assert_allclose(likelihood(mixture, prompt), np.log(density).mean(), rtol=1e-10)


def test_least_squares_is_scikit_learns():
    """Without an intercept."""
    prompt, _ = prompt_of()
    model = LinearRegression(fit_intercept=False).fit(prompt.x, prompt.y)
    np.testing.assert_allclose(least_squares(prompt), model.coef_, rtol=1e-10)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_they_are_called(name):
    """The columns and the class that the docstring names."""
    columns = TABLES[name]
    data = columns.load()
    named = [str(data.feature_names[place]) for place in (columns.response, columns.feature)] + [
        str(data.target_names[columns.group])
    ]
    expected = {
        "petals": ["petal length (cm)", "sepal width (cm)", "setosa"],
        "wine": ["flavanoids", "color_intensity", "class_2"],
        "sepals": ["sepal width (cm)", "sepal length (cm)", "setosa"],
    }
    assert named == expected[name]
