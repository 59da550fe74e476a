"""The models that ship: how each is trained, and its card."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import Results, Run
from experiments.l2o_benchmark.methods import METHODS, na_start, scalars, trusted
from experiments.l2o_benchmark.weights.config import Config
from experiments.l2o_benchmark.weights.measuring import Sizes, error_on
from experiments.l2o_benchmark.weights.training import SEEDS, trained
from experiments.shipping import ASKED, Made, as_users_ask, command_of, loaded, metrics_of
from jaxl2o.pretrained.card import Card
from jaxl2o.pretrained.model import flat
from jaxl2o.pretrained.models import built
from jaxl2o.solvers.adaptive import Standard
from jaxl2o.solvers.lista import StepLayers
from jaxl2o.types import Params, Prompt

LAW = (
    "Entries of X are N(0, 1), new for every signal, columns then scaled to mean square 1; each of {d} coefficients is N(0, 1) "
    "with probability {probability:g}, else zero; noise is at {decibels:g} dB."
)


def alista(config: Config, run: Run, results: Results, sizes: Sizes) -> Made:
    """ALISTA's 2T scalars, trained on one matrix and on new ones; the better on validation draws."""
    problem, counts = sizes.problem, trusted(sizes.problem, config.depth)
    model: dict[str, Any] = {"is": "ALISTA", "trusted": list(counts)}
    learner = built(sizes.d, model).learner

    def predict(params: StepLayers, prompt: Prompt) -> jax.Array:
        return learner.predict(params._replace(threshold=jnp.exp(params.threshold)), prompt)

    candidates: dict[str, Made] = {}
    for where, key in {"one matrix": None, "new matrices": jax.random.key(SEEDS[-3])}.items():
        found = trained(
            run,
            f"ALISTA, {where}",
            problem,
            METHODS["ALISTA"],
            predict,
            scalars(problem, config.depth),
            config.steps,
            config.batch,
            key,
        )
        arrays = found._replace(threshold=jnp.exp(found.threshold))._asdict()
        texts = texts_of(f"{config.depth} steps of ALISTA, {2 * config.depth} learned scalars", where, config, config.steps)
        made = Made(arrays, model, texts, *sizes.answered)
        candidates[where] = made
        method = as_users_ask(*loaded(made, sizes.d), sizes.label_mean_square)
        results[f"validation/{where}"] = np.array(error_on(config, sizes, method))
    return candidates[min(candidates, key=lambda where: float(results[f"validation/{where}"]))]


def na_alista(config: Config, run: Run, results: Results, sizes: Sizes) -> Made:
    """NA-ALISTA's network, trained on new matrices."""
    problem, counts = sizes.problem, trusted(sizes.problem, config.depth)
    model: dict[str, Any] = {"is": "NA-ALISTA", "trusted": list(counts)}
    learner, standard = built(sizes.d, model).learner, problem.standard

    def predict(network: Params, prompt: Prompt) -> jax.Array:
        return learner.predict((network, Standard(*map(jax.lax.stop_gradient, standard))), prompt)

    network = trained(
        run,
        "NA-ALISTA, new matrices",
        problem,
        METHODS["NA-ALISTA"],
        predict,
        na_start(problem, config.depth),
        config.adaptive,
        config.batch,
        jax.random.key(SEEDS[-3]),
    )
    arrays = flat({"network": network._asdict(), "standard": standard._asdict()})
    summary = f"{config.depth} steps of NA-ALISTA, whose sizes and thresholds an LSTM of width 128 gives"
    texts = texts_of(summary, "new matrices", config, config.adaptive)
    return Made(arrays, model, texts, *sizes.answered)


MAKERS: dict[str, Callable[[Config, Run, Results, Sizes], Made]] = {"alista": alista, "na-alista": na_alista}


def texts_of(summary: str, where: str, config: Config, n_steps: int) -> dict[str, str]:
    """Of a card, what depends on the training."""
    told = {"one matrix": "on one matrix", "new matrices": "on a new matrix in every step"}[where]
    return {
        "summary": f"{summary}; weights in closed form from X",
        "training": f"{n_steps} steps of {config.batch} signals {told}; seed {SEEDS[2]}.",
    }


def described(run: Run, results: Results, name: str, made: Made, sizes: Sizes) -> Card:
    """The card, which says beside what it reached what the Lasso does, and an estimate that knows the law."""
    setting = sizes.problem.setting
    laws = {"40 dB": "", "20 dB": ", at 20 dB", "60 dB": ", at 60 dB"}
    pairs = zip(*(results[f"{name}/40 dB/{of}"][:, 0].tolist() for of in (ASKED, "Lasso")), strict=True)
    at = dict(zip(sizes.lengths, pairs, strict=True))
    few, many = min(at), max(at)
    elsewhere = {
        (law, n): [float(results[f"{name}/{law}/{of}"][sizes.lengths.index(n), 0]) for of in (ASKED, "Lasso")]
        for law in ("20 dB", "60 dB")
        for n in (sizes.n, made.n_most)
    }
    worse = [
        f"{law} and {n} measurements ({own:.2g}, {lasso:.2g})" for (law, n), (own, lasso) in elsewhere.items() if own > lasso
    ]
    limits = (
        f"Trained at {setting.decibels:g} dB alone. Beside a Lasso whose penalty was tuned there, at 40 dB: with "
        f"{few} measurements the model's mean relative error is {at[few][0]:.3g} and the Lasso's {at[few][1]:.3g}, with {many} "
        f"{at[many][0]:.3g} and {at[many][1]:.3g}; with {sizes.n} they are {at[sizes.n][0]:.3g} and {at[sizes.n][1]:.3g}. "
        f"Within its range that Lasso errs less at {' and '.join(worse) or 'no other noise that was tried'}. It trusts up to "
        f"{max(made.model['trusted'])} entries, so signals of many more non-zero coefficients are out of its reach. Estimates "
        "that know the law of the signals, such as AMP, err less. For matrices of other laws nothing is promised but the "
        "safeguard: labels are fitted no worse than by zero."
    )
    return Card(
        name=f"{name}-d{sizes.d}",
        task=f"Sparse coefficients from noisy y = X w, {round(setting.probability * sizes.d)} of {sizes.d} on average.",
        command=command_of(run),
        d=sizes.d,
        n_least=made.n_least,
        n_most=made.n_most,
        law=LAW.format(d=sizes.d, probability=setting.probability, decibels=setting.decibels),
        label_mean_square=sizes.label_mean_square,
        limits=limits,
        metrics=metrics_of(results, name, laws, sizes.n),
        model=made.model,
        **made.texts,
    )
