"""The benchmark of the Lasso judges rightly: its gaps, its oracles, its ratios, and who is left out."""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.speed.lasso import agreement, diabetes, ours, theirs
from experiments.speed.lasso.claims import claims, ratios
from experiments.speed.lasso.config import Config
from experiments.speed.lasso.contenders import field_of, missing
from experiments.speed.lasso.figure import plot
from experiments.speed.lasso.problems import CASES, draw, largest_penalties, relative_gaps
from experiments.speed.lasso.table import table
from experiments.speed.lasso.timed import loosest
from jaxl2o.certified.certificate import duality_gap
from jaxl2o.certified.problem import problem

SMALL = {
    "own": CASES["many-small"]._replace(problems=3, n=6, d=4, together=2),
    "shared": CASES["shared-x"]._replace(problems=3, n=6, d=4, sparsity=2, together=2),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_fewer_problems_are_the_first_of_more(case):
    """So those who solve a subset solve problems that all solve."""
    few, many = draw(case), draw(case._replace(problems=5))
    np.testing.assert_array_equal(few.y, many.y[:3])
    np.testing.assert_array_equal(few.design(2), many.design(2))


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_the_gap_in_numpy_is_the_certificate(case):
    """At any w the two gaps are one number, but for the certificate's rounding; at zero and the largest penalty it is 0."""
    data = draw(case)
    penalties, w = 0.3 * largest_penalties(data), np.random.default_rng(0).normal(size=(3, 4))
    found = relative_gaps(data, w, penalties)
    for i in range(3):
        given = problem(data.design(i), data.y[i], penalties[i], scaling="half_sum")
        np.testing.assert_allclose(found[i], duality_gap(given, jnp.asarray(w[i])).bound / given.at_zero, rtol=1e-9)
    np.testing.assert_allclose(relative_gaps(data, 0.0 * w, largest_penalties(data)), 0.0, atol=1e-15)


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_all_sides_solve_the_same_problems(case):
    """Ours and every way of scikit-learn, chunks that do not divide the problems too: one answer."""
    data = draw(case)
    penalties = 0.1 * largest_penalties(data)
    right = ours.solver("ours, Descent", data, penalties, case.together)(1e-12)
    assert relative_gaps(data, right, penalties).max() <= 1e-12
    for name, make in theirs.SOLVERS.items():
        if name.startswith("scikit-learn") and (case.shared or "Gram" not in name):
            np.testing.assert_allclose(make(data, penalties, case.together)(1e-14), right, atol=1e-5)


def test_the_loosest_tolerance_is_taken():
    """Of a ladder the first step with small gaps, and the last if there is none."""
    assert loosest((0.5, 0.25, 2.0**-10, 2.0**-12), lambda given: given**2) == (2.0**-10, 2.0**-20)
    tolerance, gap = loosest((1e-1, 1e-2), lambda given: given)
    assert (tolerance, gap) == (1e-2, 1e-2)


def test_the_oracle_is_exact():
    """The refined minimiser fulfils its equation to extended precision, from a w that only has its support."""
    data = agreement.draw_columns(np.random.default_rng(1), 1, 12, 8, 0.9)
    x, y = data.x[0], data.y[0]
    rough = np.where(np.arange(8) < 3, [1.0, -1.0, 1.0, 0, 0, 0, 0, 0], 0.0)
    best = agreement.exact(x, y, 0.1, rough)
    left = x[:, :3].astype(np.longdouble).T @ (y - x.astype(np.longdouble) @ best) - np.longdouble(0.1) * np.sign(rough[:3])
    assert np.abs(left).max() <= 1e-16
    assert np.all(best[3:] == 0.0)


def test_the_closed_form_is_the_slope():
    """The derivative by the penalty is a difference quotient of the validation loss."""
    (x, y), (x_held, y_held) = diabetes.split()
    penalty = 0.05 * np.abs(x.T @ y).max() / len(y)

    def loss(at: float) -> float:
        w = diabetes.lasso(x, y, at, tolerance=1e-12).solution
        return 0.5 * float(np.mean((x_held @ w - y_held) ** 2))

    step = 1e-4 * penalty
    quotient = (loss(penalty + step) - loss(penalty - step)) / (2.0 * step)
    np.testing.assert_allclose(diabetes.closed_form(x, y, x_held, y_held, penalty), quotient, rtol=1e-5)


def made_up() -> dict[str, np.ndarray]:
    """Results of two rounds: scikit-learn's fit takes 8 and 6, then 4 and 5 times as long as the faster of ours."""
    seconds = np.array([[[8.0, 1.0, 1.0, 2.0], [6.0, 1.0, 1.0, 2.0]], [[8.0, 1.0, 3.0, 2.0], [10.0, 1.0, 3.0, 2.0]]])
    return {
        "many-small/names": np.array(["scikit-learn fit", "scikit-learn bare", "ours, Descent", "ours, Fista"]),
        "many-small/families": np.array(["scikit-learn", "scikit-learn", "ours", "ours"]),
        "many-small/counts": np.array([2, 2, 4, 4]),
        "many-small/seconds": 1e-3 * seconds,
        "many-small/tolerance": np.full((2, 4), 1e-6),
        "many-small/gap": np.full((2, 4), 1e-7),
        "many-small/first": np.ones((2, 4)),
    }


def test_the_worse_penalty_decides():
    """A ratio is of the fit, not of the bare loop, over our faster method, round by round."""
    np.testing.assert_allclose(ratios("many-small", made_up()), [4.0, 5.0])
    speed, gap = claims(made_up())
    assert (speed.id, gap.id) == ("lasso/many-small-vs-sklearn", "lasso/largest-gap")
    np.testing.assert_allclose([speed.measured, *(speed.interval or ())], [4.5, 4.0, 5.0])
    assert not speed.holds
    assert gap.holds


def test_results_are_shown():
    """A panel of the case, with a point a contender and penalty, and a row for each."""
    figure = plot(made_up())
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == [CASES["many-small"].title]
    plt.close(figure)
    assert table(made_up()).row_count == 8


def test_who_is_not_asked_or_not_there_is_left_out():
    """Without peers scikit-learn and ours compete; a package that nobody has is missing."""
    assert {one.package for one in field_of("shared-x", ())} == {"sklearn", "jaxl2o"}
    assert not [one for one in field_of("many-small", ()) if "Gram" in one.name]
    assert missing(("numpy", "no_such_package")) == ["no_such_package"]


BAD = [
    (lambda: Config(cases=("many",)), ("cases has many", "many-small")),
    (lambda: Config(rounds=0), ("rounds is 0", "at least 1")),
]


@pytest.mark.parametrize(("build", "parts"), BAD)
def test_what_cannot_be_measured_is_refused(refused, build, parts):
    """One sentence each."""
    refused(build, parts)
