"""Logistic regression: labels of -1 and +1 on the two sides of a plane."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxl2o import checks
from jaxl2o.objectives import logistic_loss, logistic_prediction
from jaxl2o.tasks.covariates import Covariates, isotropic
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Task


def logistic_regression(n: int, d: int, penalty: ScalarLike, covariates: Covariates | None = None, n_queries: int = 1) -> Task:
    """y = sign(<x, w>) with w ~ N(0, I), for examples and queries; the objective is the logistic loss with this penalty > 0.

    A prediction is the probability of the label +1. The rows are isotropic unless a law is given; theorems on Newton's method
    have |x| <= 1, as `within_unit_ball(law)`. Without queries, n_queries = 0, w itself is asked. The solution is the plane w
    that labels, not the minimiser of the objective. Giannou et al. 2024, Section 2 (arXiv:2403.03183).

    Raises `ValueError` for a penalty that is not positive, d < 1, and a negative n or number of queries.
    """
    checks.positive("penalty", penalty)
    checks.positive("d", d)
    checks.nonnegative("n", n)
    checks.nonnegative("n_queries", n_queries)
    law = isotropic() if covariates is None else covariates

    def sample(key: Key) -> Instance:
        key_x, key_w = jax.random.split(key)
        rows, w = law(key_x, n + n_queries, d), jax.random.normal(key_w, (d,))
        labels = jnp.where(rows @ w >= 0.0, 1.0, -1.0)
        asked, answer = (rows[n:], labels[n:]) if n_queries else (None, w)
        return Instance(Prompt(rows[:n], labels[:n], asked, jnp.ones(n, dtype=bool)), answer, w)

    return Task(sample, partial(logistic_loss, penalty=penalty), logistic_prediction)
