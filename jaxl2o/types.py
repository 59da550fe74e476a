"""The nouns: Prompt, Instance, Task, Solver, Learner.

The library has one equation, and every folder is one side of it:

    learner.predict(params, prompt)[t]  ==  task.predict(unroll(solver, prompt, T)[t], prompt.x_query)

All of them are NamedTuples of arrays or of pure functions for *one* task; `jax.vmap` makes many. Dimension letters, here
and in every shape of the library: n examples, m queries, N tokens, d features, D width, H heads, K head dimension,
F hidden units, L layers, T steps, B tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from jaxl2o import checks

if TYPE_CHECKING:
    PyTree = Any  # to a type checker jaxtyping's is of no known type
else:
    from jaxtyping import PyTree as PyTree

Key = PRNGKeyArray
Params = PyTree
ScalarLike = float | int | Shaped[Array, ""]


class Prompt(NamedTuple):
    """What a solver or a network is given: examples, and the inputs whose labels are asked.

    `x` None: all prompts share one matrix, which task, solver and limits close over. `x_query` None: the answer is the
    iterate itself. `used` marks the examples that count; the rows of the others are zero. `start` is an iterate that
    the caller brings; None is the solver's own.
    """

    x: Float[Array, "n d"] | None
    y: Float[Array, " n"]
    x_query: Float[Array, "m d"] | None
    used: Bool[Array, " n"]
    start: PyTree = None

    @property
    def n_used(self) -> Float[Array, ""]:
        """The number of used examples, at least 1: what every average over examples is divided by."""
        return jnp.maximum(self.used.sum(), 1).astype(self.y.dtype)

    @classmethod
    def of(cls, x: Any, y: Any, x_query: Any = None, used: Any = None, start: PyTree = None) -> "Prompt":
        """A prompt from arrays: all examples used unless `used` says otherwise; unused rows are set to zero.

        Raises `ValueError` for shapes that do not fit and, where values are concrete, for non-finite ones.
        """
        y = jnp.asarray(y, dtype=float)
        checks.shape("y", y, (None,))
        n = y.shape[0]
        used = jnp.ones(n, dtype=bool) if used is None else jnp.asarray(used, dtype=bool)
        checks.shape("used", used, (n,))
        d = None
        if x is not None:
            x = jnp.asarray(x, dtype=float)
            checks.shape("x", x, (n, None))
            d = x.shape[1]
            x = jnp.where(used[:, None], x, 0.0)
            checks.finite("x", x)
        if x_query is not None:
            x_query = jnp.asarray(x_query, dtype=float)
            checks.shape("x_query", x_query, (None, d))
            checks.finite("x_query", x_query)
        y = jnp.where(used, y, 0.0)
        checks.finite("y", y)
        return cls(x, y, x_query, used, start)


def design_matrix(prompt: Prompt) -> Float[Array, "n d"]:
    """The prompt's own measurement matrix; `ValueError` if all prompts share one, which must then be closed over."""
    if prompt.x is None:
        raise checks.InputError("this prompt has no x of its own; wrap the solver in with_matrix(solver, matrix).")
    return prompt.x


def queries(prompt: Prompt) -> Float[Array, "m d"]:
    """The inputs whose labels are asked; `ValueError` if there are none."""
    if prompt.x_query is None:
        raise checks.InputError("this prompt asks for no labels, but labels are to be predicted; give it an x_query.")
    return prompt.x_query


def prefixes(prompt: Prompt) -> Prompt:
    """The n+1 prefixes of a prompt, stacked: the k-th keeps the examples before k and asks for the next label.

    Prefix k < n asks x[k]; prefix n asks the one query. The labels they should get are `concatenate([y, y_query])`.

    Raises `ValueError` unless the prompt has its own x and exactly one query.
    """
    x = design_matrix(prompt)
    n = x.shape[0]
    last = queries(prompt)
    checks.require(
        last.shape[0] == 1, f"prefixes need exactly one query, got {last.shape[0]}; vmap over prompts of one query each."
    )
    before = jnp.tril(jnp.ones((n + 1, n), dtype=bool), k=-1)
    return Prompt(
        x=jnp.where(before[:, :, None], x[None], 0.0),
        y=jnp.where(before, prompt.y[None], 0.0),
        x_query=jnp.concatenate([x, last])[:, None, :],
        used=before & prompt.used[None],
        start=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n + 1, *jnp.shape(leaf))), prompt.start),
    )


class Instance(NamedTuple):
    """A prompt with what it hides: the labels of the queries, and the solution that made all labels."""

    prompt: Prompt
    y_query: Float[Array, " m"]
    solution: PyTree


class Task(NamedTuple):
    """A distribution over problems: how to draw one, what an iterate costs on it, what an iterate predicts.

    sample: key -> Instance.  objective: (iterate, prompt) -> scalar.  predict: (iterate, x_query) -> (m,).
    """

    sample: Callable[[Key], Instance]
    objective: Callable[[Any, Prompt], Array]
    predict: Callable[[Any, Array], Array]


class Solver(NamedTuple):
    """An iterative algorithm: init: prompt -> state; step: (state, prompt, layer) -> state; iterate: state -> iterate.

    `layers` holds learned parameters with a leading step axis, of which step t gets the t-th; classical solvers have
    None. `residual`: (iterate, prompt) -> what is zero at the answer; only solvers that have one can be differentiated
    implicitly.
    """

    init: Callable[[Prompt], Any]
    step: Callable[[Any, Prompt, Any], Any]
    iterate: Callable[[Any], Any]
    layers: PyTree = None
    residual: Callable[[Any, Prompt], Any] | None = None


class Learner(NamedTuple):
    """Anything with parameters that answers prompts: Transformers, unrolled networks, theorems in constrained form.

    init: (key, prompt) -> params.  predict: (params, prompt) -> (T+1, m), the answers after 0..T steps.
    prefixes: (params, prompt) -> (T+1, n+1), the answers for all prefixes of a one-query prompt.
    """

    init: Callable[[Key, Prompt], Params]
    predict: Callable[[Params, Prompt], Array]
    prefixes: Callable[[Params, Prompt], Array]


@dataclass(frozen=True)
class Predict:
    """A `Learner.predict` or `.prefixes` that has a faster way than `vmap` to answer many prompts; called, it answers one.

    one: (params, prompt) -> answers.  many: (params, stacked prompts) -> stacked answers, the same up to rounding.
    """

    one: Callable[[Params, Prompt], Array]
    many: Callable[[Params, Prompt], Array]

    def __call__(self, params: Params, prompt: Prompt) -> Array:
        """The answers to one prompt."""
        return self.one(params, prompt)


# the name of the axis along which `answer_tasks` holds tasks at one time, for losses that compare a task with the others
TASKS = "tasks at one time"


def over_tasks(predict: Callable[[Params, Prompt], Array]) -> Callable[[Params, Prompt], Array]:
    """`predict` for stacked prompts: by its own faster way if it has one, else by `vmap`."""
    return predict.many if isinstance(predict, Predict) else jax.vmap(predict, in_axes=(None, 0))


def answer_tasks(
    predict: Callable[[Params, Prompt], Array],
    params: Params,
    draw: Callable[..., Instance],
    then: Callable[[Array, Instance], Any],
    *stacked: Any,
) -> Any:
    """then(predict(params, instance.prompt), instance) for the instance = draw(...) of every task, results stacked.

    One `vmap` does all, so that what the tasks share, such as one matrix, is not copied. Only a `Predict` gets its prompts
    stacked. `stacked` are the arguments of `draw`, with an axis of tasks.
    """
    if isinstance(predict, Predict):
        instances = jax.vmap(draw)(*stacked)
        return jax.vmap(then, axis_name=TASKS)(predict.many(params, instances.prompt), instances)

    def one(*own: Any) -> Any:
        instance = draw(*own)
        return then(predict(params, instance.prompt), instance)

    return jax.vmap(one, axis_name=TASKS)(*stacked)


def predict_prefixes(predict: Callable[[Params, Prompt], Array]) -> Callable[[Params, Prompt], Array]:
    """`Learner.prefixes` of any `predict`: it is run on every prefix, and the results transposed to (T+1, n+1)."""

    def predict_all(params: Params, prompt: Prompt) -> Float[Array, "steps {prompt.y.shape[0]}+1"]:
        return over_tasks(predict)(params, prefixes(prompt))[..., 0].T

    return predict_all
