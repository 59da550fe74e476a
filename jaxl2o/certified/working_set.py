"""Working sets."""
import jax.numpy as jnp
from jax import lax


def nearest(problem, w, c, s, gap, curvature, size):
    length = jnp.sqrt(curvature)
    safe = jnp.where(length > 0.0, length, 1.0)
    room = jnp.minimum(problem.above - s * c, problem.below + s * c) / safe
    excluded = (room > jnp.sqrt(2.0 * gap)) | (length == 0.0)
    move = jnp.abs(problem.proximal(w + c / safe**2, 1.0 / safe**2) - w) * safe
    distance = jnp.minimum(problem.above - c, problem.below + c) / safe
    on = w != 0.0
    crowded = jnp.sum(on) > size // 2
    score = jnp.where(on, jnp.where(crowded, move, jnp.inf), -distance)
    score = jnp.where(excluded & ~on, -jnp.inf, score)
    _, near = lax.top_k(score, size)
    all_in = jnp.sum(~excluded | on) <= size
    return near, all_in
