"""Real data: the path of the diabetes table, and the derivative of a validation loss by the penalty."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, lasso_path

from experiments.common import Results
from experiments.speed.lasso import theirs
from jaxl2o import lasso
from jaxl2o.certified.paths import lasso_path as certified_lasso_path

STEPS = 60  # penalties of the path
SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001)  # of the largest penalty: where the derivative is taken


def table() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The 442 patients and 10 columns that scikit-learn brings, all centred; the columns' names."""
    found: Any = load_diabetes()
    return found.data - found.data.mean(axis=0), found.target - found.target.mean(), list(found.feature_names)


def path() -> Results:
    """Both paths from the largest penalty down to a thousandth of it, (penalties, columns), each to a gap of 1e-12."""
    x, y, names = table()
    penalties = np.geomspace(1.0, 1e-3, STEPS) * np.abs(x.T @ y).max() / len(y)
    _, coefficients, _ = lasso_path(x, y, alphas=penalties, tol=1e-12, max_iter=1_000_000)
    ours = np.asarray(certified_lasso_path(x, y, penalties, tolerance=1e-12).solutions)
    return {
        "diabetes/penalties": penalties,
        "diabetes/ours": ours,
        "diabetes/scikit-learn": coefficients.T,
        "diabetes/names": np.array(names),
    }


def split() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Two of three patients to train, every third to validate; centred by the means of training."""
    found: Any = load_diabetes()
    held = np.arange(len(found.target)) % 3 == 0
    x, y = found.data - found.data[~held].mean(axis=0), found.target - found.target[~held].mean()
    return (x[~held], y[~held]), (x[held], y[held])


def derivatives(peers: tuple[str, ...]) -> Results:
    """d(mean squared validation error / 2) / d(penalty), by `jax.grad` through the solvers and in closed form; (shares,)."""
    (x, y), (x_held, y_held) = split()
    penalties = np.array(SHARES) * np.abs(x.T @ y).max() / len(y)

    def slope_of(solve: Callable[[Array], Array]) -> np.ndarray:
        def loss(penalty: Array) -> Array:
            return 0.5 * jnp.mean((x_held @ solve(penalty) - y_held) ** 2)

        return np.array([float(found) for found in map(jax.jit(jax.grad(loss)), penalties)])

    with jax.enable_x64(True):
        found = {"gradient/ours": slope_of(lambda penalty: lasso(x, y, penalty, tolerance=1e-12).solution)}
        if "jaxopt" in peers:
            found["gradient/jaxopt"] = slope_of(theirs.implicit_lasso(x, y))
    closed = np.array([closed_form(x, y, x_held, y_held, penalty) for penalty in penalties])
    return found | {"gradient/closed": closed}


def closed_form(x: np.ndarray, y: np.ndarray, x_held: np.ndarray, y_held: np.ndarray, penalty: float) -> float:
    """On scikit-learn's active set A with signs s: w_A = (X_A'X_A)^-1 (X_A'y - n penalty s), so dw_A = -n (X_A'X_A)^-1 s."""
    w = Lasso(alpha=penalty, fit_intercept=False, tol=1e-14, max_iter=1_000_000).fit(x, y).coef_
    active = np.flatnonzero(w)
    gram, signs = x[:, active].T @ x[:, active], np.sign(w[active])
    exact = np.linalg.solve(gram, x[:, active].T @ y - len(y) * penalty * signs)
    moved = -len(y) * np.linalg.solve(gram, signs)
    held = x_held[:, active]
    return float((held @ exact - y_held) @ (held @ moved)) / len(y_held)
