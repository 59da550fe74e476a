"""The part about logistic regression: a construction that equals damped Newton up to the widths of its MLPs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.common import Results, Run
from experiments.newton.config import TEST, Config
from jaxl2o.constructions.construction import Construction, at_claimed_layers
from jaxl2o.constructions.logistic import damped_newton
from jaxl2o.constructions.logistic_block import Cells
from jaxl2o.constructions.logistic_bound import floor_bound
from jaxl2o.objectives import logistic_loss
from jaxl2o.solvers import logistic
from jaxl2o.solvers.line_search import backtracking
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.classification import logistic_regression
from jaxl2o.tasks.covariates import isotropic, within_unit_ball
from jaxl2o.types import Prompt, Task

CONVERGED = 40  # steps of damped Newton, after which nothing moves any more
LONGEST = 8.0  # step size of gradient descent that a line search tries first: above 1 / (mu + 1/4)


def logistic_task(config: Config, n_queries: int = 0) -> Task:
    """Isotropic rows within the unit ball, labelled by a plane; w itself is asked."""
    return logistic_regression(config.n, config.d, config.penalty, within_unit_ball(isotropic()), n_queries)


def block_of(config: Config, cells: int, steps: int) -> Construction:
    """The Transformer for prompts of the config's length whose curves have so many cells, or in proportion."""
    return damped_newton(config.d, config.penalty, steps, config.inner_steps, cells_of(cells), config.n)


def cells_of(count: int) -> Cells:
    """So many of the step size, as the square needs half as many, and the sigmoid twice, for errors alike."""
    return Cells(2 * count + 2, count // 2, count)


def optimum(config: Config, prompt: Prompt) -> Float[Array, " d"]:
    """The minimiser of the logistic loss."""
    return unroll(logistic.damped_newton(config.penalty), prompt, CONVERGED)[-1]


def logistic_block(config: Config, run: Run, results: Results) -> None:
    """Exact damped Newton, the inexact one, gradient descent, and the Transformer at every width, on the same prompts."""
    with jax.enable_x64(True):
        prompts = jax.vmap(logistic_task(config).sample)(jax.random.split(jax.random.key(TEST), config.prompts)).prompt
        steps = config.newton_steps
        exact = jax.jit(jax.vmap(lambda prompt: unroll(logistic.damped_newton(config.penalty), prompt, steps)))(prompts)
        inner = logistic.inexact_damped_newton(config.penalty, config.inner_steps)
        inexact = jax.jit(jax.vmap(lambda prompt: unroll(inner, prompt, steps)))(prompts)
        best = jax.jit(jax.vmap(partial(optimum, config)))(prompts)
        descent = backtracking(partial(logistic_loss, penalty=config.penalty), longest=LONGEST)
        descended = jax.jit(jax.vmap(lambda prompt: unroll(descent, prompt, steps)))(prompts)
        iterates = {"exact": exact, "inexact": inexact, "line search": descended}
        for cells in config.cells:
            with run.stage(f"logistic regression, {cells} cells"):
                construction = block_of(config, cells, config.newton_steps)
                results[f"logistic/width/{cells}"] = np.array(construction.config.mlp_dim)
                results[f"logistic/tolerance/{cells}"] = np.asarray(construction.tolerance)
                results[f"logistic/bound/{cells}"] = np.asarray(floor_bound(config.penalty, cells_of(cells)))
                answer = jax.jit(jax.vmap(at_claimed_layers(construction), (None, 0)))
                iterates[str(cells)] = answer(construction.params, prompts)
        for title, found in iterates.items():
            results[f"logistic/distance/{title}"] = np.asarray(jnp.linalg.norm(found - best[:, None], axis=2))
            results[f"logistic/error/{title}"] = np.asarray(jnp.linalg.norm(found - exact, axis=2))
