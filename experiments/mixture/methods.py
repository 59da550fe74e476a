"""Classical methods on prompts of equally likely components: linear ones, and EM from several starts.

EM knows weights and noise. Every method is a program of its own, which ends before the next begins: on a CPU small linear
systems that are solved at one time, in one program or in two, can wait for each other for ever.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxl2o.limits.linear_attention import attention_estimate, attention_excess, best_matrix
from jaxl2o.limits.mixture import Moments, independent_moments, linear_estimate, ridge_estimate
from jaxl2o.objectives import mixture_loss
from jaxl2o.solvers.expectation_maximisation import annealed_em, expectation_maximisation
from jaxl2o.solvers.starts import Draw, best_start, in_spectral_subspace
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.mixture import Components, anywhere, mixture_per_example, near, oracle
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Solver, design_matrix

# of EM; the last needs the truth, so it is no method for prompts
STARTS = ("random start", "restarted", "spectral", "annealed", "near the truth")
DISTANCE = 0.5  # of starts near the truth from it
WARM, COOLING = 1.0, 20  # the noise that annealing begins with, the norm of a component, and the steps in which it falls
CHUNK = 50  # prompts that are answered at one time


class Setting(NamedTuple):
    """Prompts of n examples of K = `n_components` components, with E b_k = 0 and E b_k b_k' = I / d, and the steps of EM.

    `starts` and `trial_steps`: how many starts the best is chosen of, after so many steps from each.
    """

    components: Components
    d: int
    n_components: int
    n: int
    steps: int
    starts: int
    trial_steps: int

    @property
    def weights(self) -> Float[Array, " K"]:
        """All alike."""
        return jnp.full(self.n_components, 1.0 / self.n_components)

    @property
    def moments(self) -> Moments:
        """Of the components."""
        return independent_moments(self.weights, jnp.eye(self.d) / self.d)

    def draw(self, noise: ScalarLike, key: Key) -> tuple[Instance, Key]:
        """The instance of this key, and a key for what methods draw on it."""
        key_instance, key_method = jax.random.split(key)
        return mixture_per_example(self.n, self.components, self.weights, noise).sample(key_instance), key_method

    def excess(self, estimate: Float[Array, " d"], instance: Instance) -> Float[Array, ""]:
        """|b_hat - bbar|^2: the mean over a query from N(0, I) of what the prediction is off the oracle's, squared."""
        return jnp.sum((estimate - oracle(instance.solution, self.weights)) ** 2)

    def matrix(self, noise: ScalarLike) -> Float[Array, "d d"]:
        """Of the best layer of linear attention."""
        return best_matrix(self.moments, noise, self.n, jnp.eye(self.d))

    def closed(self, noise: ScalarLike) -> float:
        """The expected excess of this layer."""
        return float(attention_excess(self.matrix(noise), self.moments, noise, self.n, jnp.eye(self.d)))


def least_squares(prompt: Prompt) -> Float[Array, " d"]:
    """(X'X)^-1 X'y, for prompts of more examples than features."""
    x = design_matrix(prompt)
    return jnp.linalg.solve(x.T @ x, x.T @ prompt.y)


# (setting, noise, prompt) -> what is linear in the labels
LINEAR: dict[str, Callable[[Setting, ScalarLike, Prompt], Float[Array, " d"]]] = {
    "zero": lambda setting, noise, prompt: jnp.zeros(setting.d),
    "least squares": lambda setting, noise, prompt: least_squares(prompt),
    "ridge": lambda setting, noise, prompt: ridge_estimate(prompt, setting.moments, noise),
    "linear": lambda setting, noise, prompt: linear_estimate(prompt, setting.moments, noise),
    "attention": lambda setting, noise, prompt: attention_estimate(prompt, setting.matrix(noise)),
}
METHODS = (*LINEAR, *STARTS)
# (noise, instances, keys of what is drawn on them) -> the excess on every instance
Method = Callable[[ScalarLike, Instance, Array], Float[Array, " k"]]


def measured(setting: Setting, ratios: tuple[int, ...], key: Key, count: int) -> dict[int, dict[str, Float[np.ndarray, " k"]]]:
    """The excess of every method on `count` prompts that all methods share, for every ratio of signal to noise."""
    draw, methods, found = chunked(setting.draw), classical(setting, METHODS), {}
    for ratio in ratios:
        noise, keys = 1.0 / ratio, jax.random.split(jax.random.fold_in(key, ratio), count)
        instances, own = draw(noise, keys)
        found[ratio] = {name: np.asarray(method(noise, instances, own), dtype=float) for name, method in methods.items()}
    return found


def classical(setting: Setting, names: tuple[str, ...]) -> dict[str, Method]:
    """By name; every method is a program of its own, which ends before the next begins."""
    em = chunked(partial(of_em, setting))

    def method(name: str) -> Method:
        if name in LINEAR:
            linear = chunked(partial(of_linear, setting, name))
            return lambda noise, instances, _: linear(noise, instances)
        choose = chunked(partial(start_of, setting, name))
        return lambda noise, instances, keys: em(noise, instances, choose(noise, instances, keys))

    return {name: method(name) for name in names}


def chunked(one: Callable[..., Any]) -> Callable[..., Any]:
    """one(noise, ..) for whatever else is stacked, a chunk at a time; compiled once for all noises."""
    run = jax.jit(lambda noise, *own: jax.lax.map(lambda each: one(noise, *each), own, batch_size=CHUNK))
    return lambda noise, *own: jax.block_until_ready(run(noise, *own))


def of_linear(setting: Setting, name: str, noise: ScalarLike, instance: Instance) -> Float[Array, ""]:
    """The excess of a method that is linear in the labels."""
    return setting.excess(LINEAR[name](setting, noise, instance.prompt), instance)


def start_of(setting: Setting, name: str, noise: ScalarLike, instance: Instance, key: Key) -> Float[Array, "K d"]:
    """Where EM begins. Of several starts the one that leads to the best likelihood is taken; annealing begins where it led."""
    if name == "near the truth":
        return near(DISTANCE)(key, instance.solution)
    random = anywhere()
    if name == "random start":
        return random(key, instance.solution)
    objective = partial(mixture_loss, weights=setting.weights, noise=noise)

    def tried(solver: Solver, draw: Draw, steps: int) -> Prompt:
        return best_start(solver, objective, draw, setting.starts, steps)(key, instance.prompt)

    def anywhere_drawn(key: Key, _: Prompt) -> Float[Array, "K d"]:
        return random(key, instance.solution)

    if name == "annealed":
        annealed = annealed_em(setting.weights, noise, jnp.maximum(WARM, noise), COOLING)
        return unroll(annealed, tried(annealed, anywhere_drawn, COOLING), COOLING, keep="last")
    draw = in_spectral_subspace(setting.n_components) if name == "spectral" else anywhere_drawn
    return tried(expectation_maximisation(setting.weights, noise), draw, setting.trial_steps).start


def of_em(setting: Setting, noise: ScalarLike, instance: Instance, start: Float[Array, "K d"]) -> Float[Array, ""]:
    """The excess after the setting's steps of EM from this start."""
    solver = expectation_maximisation(setting.weights, noise)
    components = unroll(solver, instance.prompt._replace(start=start), setting.steps, keep="last")
    return setting.excess(oracle(components, setting.weights), instance)
