"""Which algorithm does a network run? Its estimate after every layer, decoded linearly, beside a solver's iterates.

    fit, test = (observe(represent, path, task, key, count) for key in keys)
    estimates = decode(read_outs(fit.features, fit.solutions, penalty), test.features)
    alignment(estimates, test.iterates, test.solutions)

Nothing here knows where the features come from: a trained network, a construction and random parameters are measured alike.
The last is the control. Before anything is known an estimate is near zero, and so its error is near that of a solver's zero
start, whatever the network: only cosines above the control's speak of an algorithm.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.types import Key, Prompt, ScalarLike, Task

# measured on a device, or decoded here
Numbers = Array | np.ndarray


class Observations(NamedTuple):
    """What a network holds after 0..T layers and where a solver is after 0..S steps, on the same tasks.

    features: (B, T+1, D).  iterates: (B, S+1, d).  solutions: (B, d).
    """

    features: Float[Array, "tasks layers D"]
    iterates: Float[Array, "tasks steps d"]
    solutions: Float[Array, "tasks d"]


def observe(
    represent: Callable[[Prompt], Float[Array, "layers D"]],
    path: Callable[[Prompt], Float[Array, "steps d"]],
    task: Task,
    key: Key,
    count: int,
    chunk: int = 256,
) -> Observations:
    """For `count` tasks: represent(prompt), path(prompt), and the solution that the prompt hides.

    A network is represented by one of its tokens, such as a query's: residual_stream(config, encoding)(params, prompt)[:, -1].
    (A token of the encoding `stacked` has d + 1 numbers, its x among them, and so no room for an estimate.)
    Task i is drawn from the i-th of split(key, count), so the same key gives the same tasks to every network and solver.
    Chunks of tasks run one after another, each vmapped; beside the results memory is that of one chunk.
    """
    checks.require(count >= 1, f"count is {count}; there must be at least one task to observe.")

    def one(key: Key) -> Observations:
        instance = task.sample(key)
        return Observations(represent(instance.prompt), path(instance.prompt), instance.solution)

    return lax.map(one, jax.random.split(key, count), batch_size=min(chunk, count))


def implied(
    predict: Callable[[Prompt], Float[Array, "layers m"]], queries: Float[Array, "m d"]
) -> Callable[[Prompt], Float[Array, "layers d"]]:
    """The signal that answers imply: prompt -> the w_t whose labels <x_j, w_t> are nearest to what layer t answers at x_j.

    The queries x_j are the same for all prompts, and at least d: a network whose answers are linear in the query is decoded
    exactly, without any fit on tasks. Give it to `observe` as what represents the network, and its features are estimates.
    """
    m, d = queries.shape
    checks.require(m >= d, f"there are {m} queries for {d} coordinates; ask at least as many as there are coordinates.")
    inverse = jnp.linalg.pinv(queries)

    def estimates(prompt: Prompt) -> Float[Array, "layers d"]:
        return predict(prompt._replace(x_query=queries)) @ inverse.T

    return estimates


class ReadOut(NamedTuple):
    """z -> W_t' z + b_t: an affine map for the features after each of 0..T layers.

    weight: (T+1, D, d).  bias: (T+1, d).
    """

    weight: Float[np.ndarray, "layers D d"]
    bias: Float[np.ndarray, "layers d"]


def read_outs(features: Float[Numbers, "tasks layers D"], solutions: Float[Numbers, "tasks d"], penalty: ScalarLike) -> ReadOut:
    """Ridge regression of the solution on the features, after every layer t by itself. W_t and b_t minimise

        1/B sum_i |W' z_it + b - beta_i|^2  +  penalty v_t |W|_F^2,     v_t = 1/D sum_k Var_i(z_itk).

    As v_t is the mean variance, a rotation or a scaling of the features does not change what is decoded. Features with no
    variance decode to the mean solution. Sums are in float64: what one layer has in common over tasks may be far larger than
    what tells tasks apart. Fit on other tasks than those that are decoded, many more than D.

    symbol   name        shape
    z        features    (B, T+1, D)
    beta     solutions   (B, d)

    Raises `ValueError` unless the penalty is positive: slots that are constant or redundant would make the minimiser
    ambiguous.
    """
    checks.positive("penalty", penalty)
    targets = np.asarray(solutions, dtype=np.float64)
    mean = targets.mean(axis=0)

    def ridge(z: Float[np.ndarray, "tasks D"]) -> tuple[Float[np.ndarray, "D d"], Float[np.ndarray, " d"]]:
        count, width = z.shape
        centre = z.mean(axis=0)
        z = z - centre
        covariance = z.T @ z / count
        variance = np.trace(covariance) / width or 1.0
        weight = np.linalg.solve(covariance + float(penalty) * variance * np.eye(width), z.T @ (targets - mean) / count)
        return weight, mean - centre @ weight

    weights, biases = zip(*map(ridge, _by_layer(features)), strict=True)
    return ReadOut(np.stack(weights), np.stack(biases))


def decode(read_out: ReadOut, features: Float[Numbers, "tasks layers D"]) -> Float[np.ndarray, "tasks layers d"]:
    """The estimates W_t' z_t + b_t of the solution, after 0..T layers."""
    parts = zip(_by_layer(features), read_out.weight, read_out.bias, strict=True)
    return np.stack([z @ weight + bias for z, weight, bias in parts], axis=1)


class Alignment(NamedTuple):
    """error: (T+1,), the relative error of the estimates.  cosine: (T+1, S+1), between errors of estimates and of iterates."""

    error: Float[np.ndarray, " layers"]
    cosine: Float[np.ndarray, "layers steps"]


def alignment(
    estimates: Float[Numbers, "tasks layers d"],
    iterates: Float[Numbers, "tasks steps d"],
    solutions: Float[Numbers, "tasks d"],
) -> Alignment:
    """How far estimates are from the solution, and whether they err in the direction in which a solver's iterates err.

        error_t = sum_i |e_it|^2 / sum_i |beta_i|^2,     cosine_ts = 1/B sum_i <e_it, f_is> / (|e_it| |f_is|),

    with e = estimate - beta and f = iterate - beta; a cosine is zero where an error vanishes. A network whose estimates are a
    solver's iterates has cosine 1 on the diagonal. The solver's own error is that of alignment(iterates, iterates, solutions).

    symbol   name        shape
    beta     solutions   (B, d)
    e, f     from estimates (B, T+1, d) and iterates (B, S+1, d)
    """
    beta = np.asarray(solutions, dtype=np.float64)[:, None]
    e, f = (np.asarray(values, dtype=np.float64) - beta for values in (estimates, iterates))
    cosines = np.tensordot(_directions(e), _directions(f), axes=((0, 2), (0, 2)))
    return Alignment(np.sum(e**2, axis=(0, 2)) / np.sum(beta**2), cosines / len(beta))


def _by_layer(features: Float[Numbers, "tasks layers D"]) -> list[Float[np.ndarray, "tasks D"]]:
    return [np.asarray(features[:, t], dtype=np.float64) for t in range(features.shape[1])]


def _directions(errors: Float[np.ndarray, "tasks steps d"]) -> Float[np.ndarray, "tasks steps d"]:
    length = np.linalg.norm(errors, axis=-1, keepdims=True)
    return errors / np.where(length > 0.0, length, 1.0)
