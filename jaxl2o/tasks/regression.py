"""Linear regression: y = X w, or with noise, with w dense, and inputs and solution from laws that belong together."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.objectives import least_squares, linear_prediction
from jaxl2o.tasks.noise import Noise, noiseless
from jaxl2o.types import Instance, Key, Prompt, Task


def rotated_root(key: Key, deviations: Float[Array, " d"]) -> Float[Array, "d d"]:
    """A root of Sigma = U diag(deviations^2) U': the matrix U diag(deviations), with a random rotation U.

    U holds the left singular vectors of a d x d matrix of independent Uniform(-1, 1) entries (Dutta & Sra 2024,
    arXiv:2410.07263, who have deviations 1, 1, 1/2, 1/4, 1). deviations (d,), all > 0.
    """
    checks.shape("deviations", deviations, (None,))
    checks.positive("deviations", deviations)
    d = deviations.shape[0]
    rotation, _, _ = jnp.linalg.svd(jax.random.uniform(key, (d, d), minval=-1.0, maxval=1.0))
    return rotation * deviations[None]


def conditioned_root(key: Key, d: int, condition: float) -> Float[Array, "d d"]:
    """A root of Sigma = U diag(a) U', whose largest eigenvalue is `condition` times the least, with a Haar-random U.

    The largest is uniform in [1, 100], and the others between the two ends are uniform there. A condition of 1 gives Sigma = I,
    without the factor. The protocol of Giannou et al. 2024 (arXiv:2403.03183), who draw one Sigma for every batch.

    Raises `ValueError` for a condition below 1, and for fewer than two features unless it is 1.
    """
    checks.positive("d", d)
    checks.require(condition >= 1.0, f"condition is {condition:g}; it is the largest over the least eigenvalue, so 1 or more.")
    if condition == 1.0:
        return jnp.eye(d)
    checks.require(d >= 2, f"d is {d} with condition {condition:g}; two eigenvalues that differ need at least 2 features.")
    key_largest, key_others, key_rotation = jax.random.split(key, 3)
    largest = jax.random.uniform(key_largest, (), minval=1.0, maxval=100.0)
    others = jax.random.uniform(key_others, (d - 2,), minval=largest / condition, maxval=largest)
    eigenvalues = jnp.concatenate([jnp.stack([largest, largest / condition]), others])
    return jax.random.orthogonal(key_rotation, d) * jnp.sqrt(eigenvalues)[None]


def linear_regression(
    n: int,
    root: Float[Array, "d d"],
    n_queries: int = 1,
    noise: Noise | None = None,
    solution_root: Float[Array, "d d"] | None = None,
) -> Task:
    """x = root x0 and w = root^-T w0, with x0 and w0 from N(0, I); labels are y = <x, w>, and queries ask <x, w>.

    So x ~ N(0, Sigma) and w ~ N(0, Sigma^-1), with Sigma = root root', and <x, w> = <x0, w0>: whatever the covariance,
    labels have variance d (Dutta & Sra 2024, arXiv:2410.07263; their U D is `rotated_root`). All prompts share the root.
    Without queries, n_queries = 0, w itself is asked. The objective is least squares.

    noise: added to the labels of the examples alone; None is none.
    solution_root: w = solution_root w0 instead; the identity gives w ~ N(0, I) for every Sigma (Giannou et al. 2024,
    arXiv:2403.03183, whose root is `conditioned_root`).

    Raises `ValueError` if the root is not square or is singular, and for a negative n or number of queries.
    """
    checks.nonnegative("n", n)
    checks.nonnegative("n_queries", n_queries)
    d = root.shape[0]
    checks.shape("root", root, (d, d))
    if checks.concrete(root):
        checks.finite("root", root)
        rank = int(np.linalg.matrix_rank(np.asarray(root)))
        checks.require(
            rank == d, f"root is {d} x {d} but its rank is {rank}; it must have an inverse, which the law of w needs."
        )
    if solution_root is not None:
        checks.shape("solution_root", solution_root, (d, d))
    law = noiseless() if noise is None else noise

    def sample(key: Key) -> Instance:
        key_x, key_w, key_noise = jax.random.split(key, 3)
        rows = jax.random.normal(key_x, (n + n_queries, d)) @ root.T
        w = jax.random.normal(key_w, (d,))
        instance = _labelled(rows, jnp.linalg.solve(root.T, w) if solution_root is None else solution_root @ w, n)
        y = law(key_noise, instance.prompt.y)
        return instance._replace(prompt=instance.prompt._replace(y=y))

    return Task(sample, least_squares, linear_prediction)


def gaussian_mixture(
    n: int,
    d: int,
    means: Float[Array, " components"],
    variances: Float[Array, " components"],
    weights: Float[Array, " components"],
    n_queries: int = 1,
) -> Task:
    """Every prompt draws one component; then all entries of inputs and of w are independent N(mean, variance) of it.

    Labels and queries are <x, w>; without queries, n_queries = 0, w itself is asked. The objective is least squares.
    Dutta & Sra 2024, arXiv:2410.07263, have d = 1 and N(2.5, 0.5), N(0, 1), N(-1, 2) with weights 0.2, 0.3, 0.5. One
    component alone is a one-hot `weights`.

    symbol          name        shape
    mu_c            means       (C,)
    sigma_c^2 >= 0  variances   (C,)
    P(c)            weights     (C,)    their sum is 1

    Raises `ValueError` for other shapes, negative variances, weights that are no probabilities, d < 1, and a negative n or
    number of queries.
    """
    checks.nonnegative("n", n)
    checks.positive("d", d)
    checks.nonnegative("n_queries", n_queries)
    checks.shape("means", means, (None,))
    count = means.shape[0]
    checks.shape("variances", variances, (count,))
    checks.shape("weights", weights, (count,))
    checks.finite("means", means)
    checks.nonnegative("variances", variances)
    checks.probabilities("weights", weights)

    def sample(key: Key) -> Instance:
        key_component, key_entries = jax.random.split(key)
        component = jax.random.choice(key_component, count, p=weights)
        entries = jax.random.normal(key_entries, (n + n_queries + 1, d))
        entries = means[component] + jnp.sqrt(variances[component]) * entries
        return _labelled(entries[:-1], entries[-1], n)

    return Task(sample, least_squares, linear_prediction)


def _labelled(rows: Float[Array, "k d"], w: Float[Array, " d"], n: int) -> Instance:
    """The first n rows are examples, the others ask; if there are none, w is asked."""
    x, x_query = rows[:n], rows[n:]
    asked, answer = (x_query, linear_prediction(w, x_query)) if x_query.shape[0] else (None, w)
    return Instance(Prompt(x, linear_prediction(w, x), asked, jnp.ones(n, dtype=bool)), answer, w)
