"""What the parts share: the task, the solvers' trainings, and the iterates of networks."""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.common import Run
from experiments.fitting import fit
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import recipe_of
from experiments.sparse_recovery.methods import Method, Path
from experiments.sparse_recovery.transformers.config import Config
from experiments.sparse_recovery.transformers.networks import Network
from jaxl2o.solvers.unroll import unroll
from jaxl2o.tasks.sparse import exactly, fresh, sparse_recovery
from jaxl2o.types import Params, ScalarLike, Task


def task_of(config: Config, support: ScalarLike | None = None, n_queries: int = 0, n: int | None = None) -> Task:
    """Fresh Gaussian matrices without noise; signals live in the first `support` coordinates, None: in all.

    n: measurements, None: the config's.
    """
    inside = jnp.arange(config.d) < (config.d if support is None else support)
    matrices = fresh(config.n if n is None else n, config.d)
    return sparse_recovery(exactly(config.d, config.sparsity, inside), matrices, n_queries=n_queries)


def solver(config: Config, run: Run, title: str, method: Method, task: Task, seed: int) -> Params:
    """The parameters of a solver after its training."""
    recipe = recipe_of(method, task, config.solver_batch, config.solver_steps)
    return fit(run, title, recipe, method.start, config.solver_steps, jax.random.key(seed))


def answers(network: Network, params: Params) -> Path:
    """The Transformer's iterates, under the safeguard."""
    return Partial(network.guarded, params)


def path_of_bare(network: Network, params: Params) -> Path:
    """The Transformer's iterates as they are."""
    return Partial(network.learner.predict, params)


def bare(params: Params, depth: int) -> Path:
    """LISTA-VM's iterates as they are."""
    return lambda prompt: unroll(methods.bare_varying(params), prompt, depth)
