"""The methods as paths that end with their answers: tuned, trained, as they ship, or as a limit."""

from experiments.common import Run
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.measuring import classical, path_of, task_of, train
from experiments.sparse_recovery.methods import Path
from experiments.sparse_recovery.prefixes.config import BAYES, SHIPPED, SMALL_TF, Config
from jaxl2o.limits.bayes_sparse import exactly_sparse
from jaxl2o.pretrained import load_pretrained
from jaxl2o.solvers.proximal import fista
from jaxl2o.solvers.wrappers import safeguarded_answers
from jaxl2o.tasks.shift import random_length


def path_named(config: Config, run: Run, title: str) -> Path:
    """The method of this title; what ships is asked as it was trained, in its range of n and out of it."""
    if title in SHIPPED:
        model = load_pretrained(f"{SHIPPED[title]}-d{config.d}")
        predict = safeguarded_answers(model.learner.predict) if title == SMALL_TF else model.learner.predict
        return lambda prompt: predict(model.params, prompt)
    if title == "LISTA-VM":
        return lista_vm_of_any_length(config, run)
    if title == BAYES:
        mean = exactly_sparse(config.d, config.sparsity, 0.0)
        return lambda prompt: mean(prompt)[None]
    if title == "minimum norm":
        return methods.shortest
    n_steps = config.solvers.fista_steps if title == "FISTA, 400 steps" else config.depth
    return classical(fista, task_of(config.solvers), n_steps, config.validation)


def lista_vm_of_any_length(config: Config, run: Run) -> Path:
    """LISTA-VM under the safeguard, trained on prompts of 1 to all measurements, as in the experiment `sparse_recovery`."""
    method, longest = methods.varying(config.d, config.depth), task_of(config.solvers, n=config.longest)
    return path_of(method, train(config.solvers, run, "any length, LISTA-VM", method, random_length(longest, 1)))
