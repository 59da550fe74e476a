"""The part about one layer of linear self-attention: what gradient flow makes of it, and its risk against the closed form."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.mixture.config import ATTENTION, START, Config
from experiments.parts import kept
from jaxl2o.limits.attention_flow import Factors, conserved, matrix_of, small_factors
from jaxl2o.limits.linear_attention import attention_estimate, attention_risk, best_matrix
from jaxl2o.limits.mixture import Moments, independent_moments, symmetric_moments
from jaxl2o.solvers.flow import gradient_flow
from jaxl2o.solvers.from_optax import from_optax
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.covariates import Covariates, column_correlated, isotropic, spectrum
from jaxl2o.tasks.mixture import Components, mixture_per_example, symmetric, unit_norm
from jaxl2o.types import Key, Prompt, Solver, Task, queries

D, N, NOISE, SIZE = 5, 20, 0.5, 0.1  # features, examples in training, noise, s_0 of the start
TIME = 1500.0  # of the flow: its slowest direction contracts by e^-1 in 60 at most
ADAM = 1e-2  # its rate at first; cosine to zero
SHOWN = 60  # points of a trajectory that are kept
EIGENVALUES, CORRELATION = (2.0, 1.5, 1.0, 0.5, 0.25), 0.5
COVARIANCES: dict[str, tuple[Callable[[], Covariates], np.ndarray]] = {
    "isotropic": (isotropic, np.eye(D)),
    "diagonal": (lambda: spectrum(jnp.array(EIGENVALUES)), np.diag(EIGENVALUES)),
    "correlated": (
        lambda: column_correlated(CORRELATION),
        CORRELATION ** np.abs(np.arange(D)[:, None] - np.arange(D)[None, :]),
    ),
}
WEIGHT, WEIGHTS = 0.8, (0.5, 0.3, 0.2)
PRIORS: dict[str, tuple[Callable[[int], Components], tuple[float, ...]]] = {
    "independent": (lambda d: unit_norm(d, len(WEIGHTS)), WEIGHTS),
    "symmetric": (symmetric, (WEIGHT, 1.0 - WEIGHT)),
}
# (risk, steps, start) -> Solver
SOLVERS: dict[str, Callable[..., Solver]] = {
    "flow": lambda risk, steps, start: gradient_flow(risk, TIME / steps, start),
    "descent": lambda risk, steps, start: from_optax(optax.sgd(TIME / steps), risk, start),
    "Adam": lambda risk, steps, start: from_optax(optax.adam(optax.cosine_decay_schedule(ADAM, steps)), risk, start),
}
NOTHING = Prompt(None, jnp.zeros(0), None, jnp.zeros(0, dtype=bool))


def attention(config: Config, run: Run) -> Results:
    """Trajectories for every covariance and prior, and the risk of the best matrix at every length."""
    results: Results = {"attention/lengths": np.array(config.attention_lengths)}
    for prior in PRIORS:
        for name in COVARIANCES:
            title = f"{prior}, {name}"
            results |= kept(run, f"attention, {title}", lambda prior=prior, name=name: trained(config, prior, name))
            results |= kept(run, f"risk, {title}", lambda prior=prior, name=name: measured(config, prior, name))
    return results


def moments_of(prior: str) -> Moments:
    """The second moments of components of norm one: E b b' = I / d."""
    covariance = jnp.eye(D) / D
    if prior == "symmetric":
        return symmetric_moments(WEIGHT, covariance)
    return independent_moments(jnp.array(WEIGHTS), covariance)


def trained(config: Config, prior: str, name: str) -> Results:
    """|u U - A*|_F / |A*|_F along gradient flow, gradient descent of its time step, and Adam; the drift of u^2 - |U|_F^2."""
    with jax.enable_x64(True):
        covariance, shown = jnp.array(COVARIANCES[name][1]), np.unique(np.geomspace(1, config.flow_steps, SHOWN).astype(int))
        found: Results = {"attention/steps": shown, "attention/time": shown * TIME / config.flow_steps}
        for title in SOLVERS:
            gaps, drift = along(title, config.flow_steps, moments_of(prior), covariance)
            found[f"attention/{prior}/{name}/{title}"] = np.asarray(gaps)[shown]
            found[f"attention/{prior}/{name}/{title}/drift"] = np.array(float(drift))
        return found


@partial(jax.jit, static_argnames=("title", "steps"))
def along(
    title: str, steps: int, moments: Moments, covariance: Float[Array, "d d"]
) -> tuple[Float[Array, " T"], Float[Array, ""]]:
    """The relative distance to the best matrix after every step, and the largest drift of what flow conserves."""
    root = jax.random.normal(jax.random.key(START), (D, D))
    best = best_matrix(moments, NOISE, N, covariance)

    def risk(factors: Factors, prompt: Prompt) -> Float[Array, ""]:
        return attention_risk(matrix_of(factors), moments, NOISE, N, covariance)

    path = unroll(SOLVERS[title](risk, steps, lambda prompt: small_factors(root, SIZE)), NOTHING, steps)
    gaps = jnp.linalg.norm(jax.vmap(matrix_of)(path) - best[None], axis=(1, 2)) / jnp.linalg.norm(best)
    kept = jax.vmap(conserved)(path)
    return gaps, jnp.abs(kept - kept[0]).max()


def measured(config: Config, prior: str, name: str) -> Results:
    """Squared error of A*, the best for N examples, on drawn prompts of every length: mean, standard error, closed form."""
    law, covariance = COVARIANCES[name][0](), jnp.array(COVARIANCES[name][1])
    components, weights = PRIORS[prior]
    moments = moments_of(prior)
    best = best_matrix(moments, NOISE, N, covariance)
    own = jax.random.fold_in(jax.random.key(ATTENTION), [*PRIORS].index(prior) * len(COVARIANCES) + [*COVARIANCES].index(name))
    rows = []
    for n in config.attention_lengths:
        task = mixture_per_example(n, components(D), jnp.array(weights), NOISE, covariates=law)

        def error(key: Key, task: Task = task) -> Float[Array, ""]:
            instance = task.sample(key)
            answer = queries(instance.prompt) @ attention_estimate(instance.prompt, best)
            return jnp.mean((answer - instance.y_query) ** 2)

        keys = jax.random.split(jax.random.fold_in(own, n), config.drawn)
        found = np.asarray(jax.jit(lambda keys, one=error: jax.lax.map(one, keys, batch_size=4000))(keys), dtype=float)
        closed = float(attention_risk(best, moments, NOISE, n, covariance))
        rows.append([found.mean(), found.std(ddof=1) / np.sqrt(len(found)), closed])
    return {f"risk/{prior}/{name}": np.array(rows), "risk/prompts": np.array(config.drawn)}
