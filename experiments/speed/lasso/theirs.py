"""The other sides, as their users write them, without an intercept; each package is imported by those who use it."""

import warnings
from collections.abc import Callable

import numpy as np

from experiments.speed.lasso.problems import Data

Solve = Callable[[float], np.ndarray]
MOST = 1_000_000  # sweeps or steps: never what stops


def one_by_one(data: Data, penalties: np.ndarray, fit: Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]) -> Solve:
    """A loop of `fit`, (X in columns' order, y, penalty, tolerance) -> w; the order is made beforehand."""
    designs = [np.asfortranarray(data.design(i)) for i in range(len(data.y) if data.x.ndim == 3 else 1)]
    problems = [(designs[i % len(designs)], data.y[i], float(penalties[i])) for i in range(len(data.y))]
    return lambda tolerance: np.stack([fit(*each, tolerance) for each in problems])


def scikit_learn(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """A new `Lasso` for each problem."""
    from sklearn.linear_model import Lasso

    n = data.y.shape[1]

    def fit(x: np.ndarray, y: np.ndarray, penalty: float, tolerance: float) -> np.ndarray:
        return Lasso(alpha=penalty / n, fit_intercept=False, tol=tolerance, max_iter=MOST).fit(x, y).coef_

    return one_by_one(data, penalties, fit)


def scikit_learn_gram(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """The same, with the X'X that all problems share."""
    from sklearn.linear_model import Lasso

    n = data.y.shape[1]

    def solve(tolerance: float) -> np.ndarray:
        gram = data.x.T @ data.x

        def fit(x: np.ndarray, y: np.ndarray, penalty: float, tol: float) -> np.ndarray:
            return Lasso(alpha=penalty / n, fit_intercept=False, precompute=gram, tol=tol, max_iter=MOST).fit(x, y).coef_

        return one_by_one(data, penalties, fit)(tolerance)

    return solve


def scikit_learn_bare(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """Its coordinate descent alone, which is no public function: no check of input, no estimator."""
    from sklearn.linear_model._cd_fast import enet_coordinate_descent

    random = np.random.RandomState(0)

    def fit(x: np.ndarray, y: np.ndarray, penalty: float, tolerance: float) -> np.ndarray:
        return enet_coordinate_descent(np.zeros(x.shape[1]), penalty, 0.0, x, y, MOST, tolerance, random)[0]

    return one_by_one(data, penalties, fit)


def scikit_learn_bare_gram(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """The same, with the X'X that all problems share."""
    from sklearn.linear_model._cd_fast import enet_coordinate_descent_gram

    random = np.random.RandomState(0)

    def solve(tolerance: float) -> np.ndarray:
        gram, explained = data.x.T @ data.x, data.y @ data.x
        starts = np.zeros((len(data.y), data.x.shape[1]))
        each = zip(starts, penalties, explained, data.y, strict=True)
        run = enet_coordinate_descent_gram
        return np.stack([run(w, penalty, 0.0, gram, q, y, MOST, tolerance, random)[0] for w, penalty, q, y in each])

    return solve


def celer(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """A new `celer.Lasso` for each problem."""
    from celer import Lasso

    n = data.y.shape[1]

    def fit(x: np.ndarray, y: np.ndarray, penalty: float, tolerance: float) -> np.ndarray:
        return Lasso(alpha=penalty / n, fit_intercept=False, tol=tolerance).fit(x, y).coef_

    return one_by_one(data, penalties, fit)


def skglm(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """A new `skglm.Lasso` for each problem; its tol is of the largest violation of an optimality condition."""
    from skglm import Lasso

    n = data.y.shape[1]

    def fit(x: np.ndarray, y: np.ndarray, penalty: float, tolerance: float) -> np.ndarray:
        alpha = penalty / n
        return Lasso(alpha=alpha, fit_intercept=False, tol=tolerance * alpha).fit(x, y).coef_

    return one_by_one(data, penalties, fit)


def jaxopt(data: Data, penalties: np.ndarray, together: int) -> Solve:
    """Its accelerated `ProximalGradient` with the step 1 / |X'X|, in chunks as ours; tol bounds the prox-gradient."""
    import jax
    import jax.numpy as jnp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from jaxopt import ProximalGradient
        from jaxopt.prox import prox_lasso

    def loss(w, x, y):
        return 0.5 * jnp.sum((x @ w - y) ** 2)

    @jax.jit
    def solve(x, y, penalties, tolerance):
        def one(given):
            label, penalty, *own = given
            design = own[0] if own else x
            small = design @ design.T if design.shape[0] < design.shape[1] else design.T @ design
            step = 1.0 / jnp.linalg.eigvalsh(small)[-1]
            # without an implicit derivative its loop would take all steps that it may
            method = ProximalGradient(
                loss, prox_lasso, stepsize=lambda _: step, tol=tolerance * penalty, maxiter=MOST, implicit_diff=True
            )
            return method.run(jnp.zeros(design.shape[1]), penalty, design, label).params

        own = () if x.ndim == 2 else (x,)
        return jax.lax.map(one, (y, penalties, *own), batch_size=min(together, len(y)))

    return lambda tolerance: np.asarray(solve(data.x, data.y, penalties, tolerance))


SOLVERS: dict[str, Callable[[Data, np.ndarray, int], Solve]] = {
    "scikit-learn fit": scikit_learn,
    "scikit-learn fit, Gram": scikit_learn_gram,
    "scikit-learn bare": scikit_learn_bare,
    "scikit-learn bare, Gram": scikit_learn_bare_gram,
    "celer": celer,
    "skglm": skglm,
    "jaxopt": jaxopt,
}


def implicit_lasso(x: np.ndarray, y: np.ndarray):
    """jaxopt's answer as a function of the penalty, in "mean", differentiated implicitly as its examples do."""
    import jax.numpy as jnp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from jaxopt import ProximalGradient, objective
        from jaxopt.prox import prox_lasso

    size = len(y) / float(np.linalg.eigvalsh(x.T @ x)[-1])
    method = ProximalGradient(objective.least_squares, prox_lasso, stepsize=size, tol=1e-10, maxiter=MOST, implicit_diff=True)
    return lambda penalty: method.run(jnp.zeros(x.shape[1]), penalty, (x, y)).params


def optimistix_unrolled(s, max_steps: int):
    """Its gradient descent with recursive checkpoints, as in its own benchmark."""
    import optimistix as optx

    solver = optx.GradientDescent(learning_rate=1e-3, rtol=1e-4, atol=1e-4)

    def answer(start, y):
        found = optx.minimise(
            lambda w, y: ((s @ w - y) ** 2).sum(),
            solver,
            start,
            args=y,
            adjoint=optx.RecursiveCheckpointAdjoint(),
            max_steps=max_steps,
            throw=False,
        )
        return found.value.sum()

    return answer


def jaxopt_unrolled(s, max_steps: int):
    """Its gradient descent, unrolled, as in optimistix's benchmark."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from jaxopt import GradientDescent

    def loss(w, y):
        return ((s @ w - y) ** 2).sum()

    method = GradientDescent(loss, stepsize=1e-3, tol=1e-4, acceleration=False, maxiter=max_steps, implicit_diff=False)
    return lambda start, y: method.run(start, y).params.sum()


UNROLLED = {"optimistix": optimistix_unrolled, "jaxopt": jaxopt_unrolled}
