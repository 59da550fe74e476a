"""What the trained scalars of in-context ALISTA do beyond one run of all steps: in branches, and halted."""

import jax
import numpy as np
from jax import lax
from jaxtyping import Array

from experiments.common import Results, Run
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.config import SEEDS, Config
from experiments.sparse_recovery.measuring import score, task_of
from experiments.sparse_recovery.methods import Method, Path
from jaxl2o.evaluation.curves import squared_errors
from jaxl2o.solvers.in_context import InContextLayers
from jaxl2o.solvers.pseudo_inverse import Weights, analytic_weights
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.wrappers import halted
from jaxl2o.types import Key, Params, Solver

TOLERANCES = (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of the share of the labels that is not explained


def in_branches(config: Config, params: InContextLayers, weights: Weights = analytic_weights) -> Path:
    """In-context ALISTA with these parameters, in d + 1 branches; they were trained in one."""
    return lambda prompt: unroll(methods.branches(params, config.d, weights), prompt, config.depth)


def halting(config: Config, run: Run, results: Results, title: str, method: Method, params: Params) -> None:
    """The same solver, halted at the largest tolerance that raises the mean error on validation signals by a tenth at most."""
    task, depth = task_of(config), 2 * config.depth

    def solver(tolerance: float) -> Solver:
        return halted(method.solver(params), tolerance)

    def path(tolerance: float) -> Path:
        return lambda prompt: unroll(solver(tolerance), prompt, depth)

    def error(tolerance: float) -> float:
        return float(squared_errors(path(tolerance), task, jax.random.key(SEEDS[2]), config.validation, 500)[0][:, -1].mean())

    with run.stage(f"fresh matrices: {title}, halted"):
        allowed = 1.1 * error(0.0)
        tolerance = max(share for share in TOLERANCES if error(share) <= allowed)
        score(results, f"fresh/{title}, halted", path(tolerance), task, config.test)

        def taken(key: Key) -> Array:
            return unroll(solver(tolerance), task.sample(key).prompt, depth, keep=lambda state: state.taken)[-1]

        keys = jax.random.split(jax.random.key(SEEDS[3]), config.test)
        results["halting/steps"] = np.asarray(jax.jit(lambda keys: lax.map(taken, keys, batch_size=500))(keys)).astype(np.uint8)
        results["halting/tolerance"] = np.array(tolerance)
