"""A method answers a prompt with coefficients; and the units in which step sizes and thresholds serve every prompt."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxl2o.solvers.proximal import penalty_max, smoothness
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt, Solver, design_matrix

SHARE = 0.05  # the penalty of the Lasso's methods, over the least one that gives zero
RIDGE = 0.01  # the penalty of ridge's, over the largest eigenvalue of X'X / n
LEAST = 0.01  # the eigenvalue down to which heavy ball and Chebyshev are the fastest, over the largest

Method = Callable[[Prompt], Float[Array, " d"]]
# certified: to a duality gap; closed form; solver: steps that need no training; theorem: the Transformer that one fills
Kind = Literal["certified", "closed form", "solver", "theorem", "pretrained"]


def everywhere(n: int, d: int) -> None:
    """A range that is all: no sentence says that a problem is outside of it."""


class Named(NamedTuple):
    """A method in the table: of what kind it is, what it answers in one line, and where it may be asked.

    answer: the method itself.  d, n: the numbers of coefficients and measurements that it takes, in words.
    outside: (n, d) -> a sentence that says why a problem is out of range, or None.
    """

    kind: Kind
    says: str
    answer: Method
    d: str = "any"
    n: str = "any"
    outside: Callable[[int, int], str | None] = everywhere


def by_steps(solver: Callable[[], Solver], n_steps: int) -> Method:
    """The iterate of a solver, built when it is asked, after so many steps."""
    return lambda prompt: unroll(solver(), prompt, n_steps, keep="last")


def in_unit_steps(answer: Method) -> Method:
    """The method, asked in units where L = 1 and |X'y|_inf = n, with L the largest eigenvalue of X'X / n.

    X is divided by sqrt(L), y by what |X'y|_inf / n is then. So a step size of 1 is 1 / L, a threshold of s in a step of that
    size is the share s of the least penalty whose answer is zero, and one set of numbers, as the parameters of a Transformer
    are, serves every prompt. Where X'y = 0 the labels stay.
    """

    def scaled(prompt: Prompt) -> Float[Array, " d"]:
        root = jnp.sqrt(smoothness(prompt))
        unit = prompt._replace(x=design_matrix(prompt) / root)
        label = penalty_max(unit)
        label = jnp.where(label > 0.0, label, 1.0)
        return answer(unit._replace(y=prompt.y / label)) * label / root

    return scaled


def in_unit_columns(answer: Method) -> Method:
    """The method, asked with X / sqrt(n), whose columns have length 1 where those of X have mean square 1."""

    def scaled(prompt: Prompt) -> Float[Array, " d"]:
        root = jnp.sqrt(prompt.n_used)
        return answer(prompt._replace(x=design_matrix(prompt) / root)) / root

    return scaled
