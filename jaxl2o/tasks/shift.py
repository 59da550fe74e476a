"""Task -> Task: how many examples a prompt has, how many coordinates count, at what scale, and how many instances there are."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxl2o import checks
from jaxl2o.types import Instance, Key, Prompt, ScalarLike, Task, design_matrix


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


def in_dimensions(task: Task, count: ScalarLike) -> Task:
    """The same task in the first `count` coordinates: the others are zero in X, queries and solution. `count` may be traced.

    Labels lose what the others gave to them, so noise stays as it was. For curricula (Garg et al. 2022, arXiv:2208.01066), and
    for labels that are linear in a solution of d numbers.
    """
    checks.nonnegative("count", count)

    def sample(key: Key) -> Instance:
        prompt, y_query, solution = task.sample(key)
        x = design_matrix(prompt)
        kept = jnp.arange(x.shape[1]) < count
        rest = jnp.where(kept, 0.0, solution)
        prompt = prompt._replace(x=jnp.where(kept, x, 0.0), y=prompt.y - x @ rest)
        if prompt.x_query is None:
            return Instance(prompt, jnp.where(kept, y_query, 0.0), solution - rest)
        y_query = y_query - prompt.x_query @ rest
        return Instance(prompt._replace(x_query=jnp.where(kept, prompt.x_query, 0.0)), y_query, solution - rest)

    return task._replace(sample=sample)


def with_variance(task: Task, variance: ScalarLike) -> Task:
    """The same draw with X, queries and solution times sqrt(variance), so labels, noise among them, times `variance`.

    Without queries the answer is the solution, which is scaled as such. For labels that are linear in a solution of d numbers
    (the shift of Dutta & Sra 2024, arXiv:2410.07263, towards prompts of a scale that training did not have). `variance` > 0
    may be traced.
    """
    checks.positive("variance", variance)

    def sample(key: Key) -> Instance:
        prompt, y_query, solution = task.sample(key)
        deviation = jnp.sqrt(variance)
        prompt = prompt._replace(x=deviation * design_matrix(prompt), y=variance * prompt.y)
        if prompt.x_query is None:
            return Instance(prompt, deviation * y_query, deviation * solution)
        return Instance(prompt._replace(x_query=deviation * prompt.x_query), variance * y_query, deviation * solution)

    return task._replace(sample=sample)


def among(task: Task, count: int, key: Key) -> Task:
    """A training set: `count` instances of the task, which `key` draws once for all, and of which each sample is one."""
    checks.require(count >= 1, f"count is {count}; a training set needs at least one instance.")

    def sample(choice: Key) -> Instance:
        return task.sample(jax.random.fold_in(key, jax.random.randint(choice, (), 0, count)))

    return task._replace(sample=sample)
