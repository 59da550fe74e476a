"""The parts about coefficients on prompts that they are not best for: they were fitted on few, or on another law; exactly."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.memformer.config import FEW, Config
from experiments.memformer.measuring import EIGENVALUES, D
from jaxl2o.limits.polynomial import optimal_polynomial
from jaxl2o.limits.wishart import loss_matrix
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.types import Key, design_matrix


def few(config: Config, run: Run, results: Results) -> None:
    """Coefficients that are best on few prompts, exactly, and their loss on those and on all.

    After T steps these methods are the polynomials of degree T, so the least training loss is a quadratic problem.
    """
    matrix = loss_matrix(config.n, EIGENVALUES["isotropic"], config.depth).astype(float)

    def moments(key: Key) -> Float[Array, " k"]:
        """w'H^k w of one prompt, for k = 0..2T."""
        instance = linear_regression(config.n, jnp.eye(D), n_queries=0).sample(key)
        x, vectors = design_matrix(instance.prompt), [instance.solution]
        hessian = x.T @ x / config.n
        for _ in range(2 * config.depth):
            vectors.append(hessian @ vectors[-1])
        return jnp.stack(vectors) @ instance.solution

    @jax.jit
    def fit(key: Key, weights: Float[Array, " B"]) -> tuple[Array, Array]:
        """Training loss and loss at every depth, for a training set of as many prompts as there are weights."""
        means = weights @ jax.vmap(moments)(jax.random.split(key, len(weights)))
        hankel = means[jnp.arange(config.depth + 1)[:, None] + jnp.arange(config.depth + 1)[None]]
        training, on_all = [], []
        for depth in range(1, config.depth + 1):
            column = jnp.linalg.solve(hankel[: depth + 1, : depth + 1], jnp.eye(depth + 1)[0])
            best = column / column[0]
            training.append(1.0 / column[0])
            on_all.append(best @ jnp.asarray(matrix)[: depth + 1, : depth + 1] @ best)
        return jnp.stack(training), jnp.stack(on_all)

    with jax.enable_x64(True):
        for size in config.prompts:
            with run.stage(f"few prompts: {size}"):
                keys = jax.random.split(jax.random.fold_in(jax.random.key(FEW), size), config.repeats)
                found = jax.lax.map(lambda key, size=size: fit(key, jnp.full(size, 1.0 / size)), keys)
            training, on_all = (np.asarray(values) for values in found)
            for name, values in (("training", training), ("all", on_all), ("gap", on_all - training)):
                results[f"few/{size}/{name}"] = np.quantile(values, (0.5, 0.025, 0.975), axis=0)
    results["few/sizes"] = np.array(config.prompts)
    results["few/bound"] = np.array([bound(size) for size in config.prompts])


def bound(size: int, confidence: float = 0.95) -> float:
    """What the gap of one layer, one coefficient c, does not exceed with this probability, by a covering argument.

    2 K e + M sqrt((log(3 r / e) + log(2 / delta)) / 2B) with e = 1 / (K sqrt B): for |c| <= r, and prompts with |w|^2 <= W and
    no eigenvalue of H above Lambda, the loss w'(I - c H)^2 w is at most M = W (1 + r Lambda)^2 and changes at most by
    K = 2 W Lambda (1 + r Lambda) times the change of c. Of a million drawn prompts 1.3 in a thousand are not such.
    It is crude: the gap itself is two thousand times smaller.
    """
    radius, eigenvalue, length = 2.0, 4.0, 20.0
    most, slope = length * (1.0 + radius * eigenvalue) ** 2, 2.0 * length * eigenvalue * (1.0 + radius * eigenvalue)
    width = 1.0 / (slope * math.sqrt(size))
    deviation = math.sqrt((math.log(3.0 * radius / width) + math.log(2.0 / (1.0 - confidence))) / (2.0 * size))
    return 2.0 * slope * width + most * deviation


def laws(config: Config, run: Run, results: Results) -> None:
    """The best coefficients of one length and covariance, on others: exact losses over the others' own limits, in nats."""
    worlds = [(n, condition) for condition in config.conditions for n in config.lengths]
    matrices = [loss_matrix(n, spectrum(condition), config.depth) for n, condition in worlds]
    best = [optimal_polynomial(matrix) for matrix in matrices]
    excess = [[float(p @ matrix @ p / own) for matrix, (own, _) in zip(matrices, best, strict=True)] for _, p in best]
    results["laws/worlds"], results["laws/excess"] = np.array(worlds), np.log(np.array(excess))


def spectrum(condition: int) -> list[float]:
    """D eigenvalues from 1 to 1 / condition, evenly in their logarithm."""
    return list(np.geomspace(1.0, 1.0 / condition, D))
