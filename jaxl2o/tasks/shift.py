"""Task -> Task: how many examples a prompt has."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxl2o import checks
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Task


def shortened(prompt: Prompt, length: ScalarLike) -> Prompt:
    """The prompt with its first `length` examples, the others unused. `length` may be traced."""
    used = prompt.used & (jnp.arange(prompt.y.shape[0]) < length)
    x = None if prompt.x is None else jnp.where(used[:, None], prompt.x, 0.0)
    return prompt._replace(x=x, y=jnp.where(used, prompt.y, 0.0), used=used)


def at_length(task: Task, length: ScalarLike) -> Task:
    """The same task from the first `length` examples alone."""
    checks.nonnegative("length", length)

    def sample(key: Key) -> Instance:
        instance = task.sample(key)
        return instance._replace(prompt=shortened(instance.prompt, length))

    return task._replace(sample=sample)


def random_length(task: Task, shortest: int) -> Task:
    """The same task from its first k examples, k uniform from `shortest` to all of them: a new one for every prompt."""
    checks.nonnegative("shortest", shortest)

    def sample(key: Key) -> Instance:
        key_task, key_length = jax.random.split(key)
        instance = task.sample(key_task)
        n = instance.prompt.y.shape[0]
        checks.require(shortest <= n, f"the shortest prompt is to have {shortest} examples, but the task has {n}; ask fewer.")
        length: Int[Array, ""] = jax.random.randint(key_length, (), shortest, n + 1)
        return instance._replace(prompt=shortened(instance.prompt, length))

    return task._replace(sample=sample)
