"""What the experiment on mixtures computes beside the library: slopes, closed forms of its rows, and fits of its tables."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from experiments.mixture.claims import slope_of
from experiments.mixture.methods import Setting, least_squares
from experiments.mixture.tables import TABLES, known, likelihood
from experiments.mixture.trained.claims import chosen, level, ratio_of, slope
from experiments.mixture.trained.fresh import BASELINES
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


def test_the_cell_of_the_claims_is_where_the_network_does_best():
    """On validation draws, against the best baseline there: its ratio of signal to noise, its length, and that baseline."""
    results = {"map/ratios": np.array([1, 5]), "map/lengths": np.array([16, 32])}
    others = np.linspace(1.0, 2.0, len(BASELINES))
    for place, (ratio, n) in enumerate([(1, 16), (1, 32), (5, 16), (5, 32)]):
        network = (0.9, 0.7, 0.8, 1.1)[place]
        results[f"validation/{ratio}/{n}"] = np.array([*np.roll(others, place), network])
    assert chosen(results) == (1, 32, BASELINES[1])


def test_levels_are_of_student():
    """One axis of groups: Student's interval of their mean, as SciPy has it; no spread: no interval but the mean."""
    values = np.array([1.0, 2.0, 4.0, 7.0])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(level(values).interval, (low, high), rtol=1e-12)
    np.testing.assert_allclose(level(values[:, None] * np.ones((1, 3))).value, values.mean())
    np.testing.assert_allclose(level(np.full((3, 2), 5.0)).interval, (5.0, 5.0))


def test_ratios_are_of_means_and_paired():
    """Errors that are half of others' in every prompt and seed: one half, without an interval, however they spread."""
    under = np.random.default_rng(0).lognormal(size=(5, 40))
    value, interval = ratio_of(0.5 * np.stack([under, under]), under)
    np.testing.assert_allclose((value, *interval), 0.5, rtol=1e-12)


def test_the_slope_of_the_gap():
    """Gaps c B^-p of every training and seed have the slope -p; of gaps that are not positive there is none."""
    sizes = np.array([64.0, 512.0, 4096.0])
    fresh = np.ones((2, 3, 5)) * (0.1 + 3.0 * sizes**-0.7)[None, :, None]
    results = {"sets/sizes": sizes, "sets/given/4/own": np.full((2, 3), 0.1), "sets/given/4/fresh": fresh}
    np.testing.assert_allclose(slope(results, "given", 4).value, -0.7, rtol=1e-12)
    assert np.isnan(slope(results | {"sets/given/4/own": np.full((2, 3), 9.0)}, "given", 4).value)
