"""The models that ship, as they are made of what was chosen, and their cards."""

from dataclasses import asdict

from experiments.common import Results, Run
from experiments.memformer.measuring import D
from experiments.memformer.published.forms import Form, parameters
from experiments.memformer.weights.config import Config
from experiments.memformer.weights.measuring import BASELINES, NOISE, TESTED
from experiments.memformer.weights.training import Chosen
from experiments.shipping import ASKED, Made, command_of, metrics_of
from jaxl2o.pretrained.card import Card
from jaxl2o.pretrained.model import flat

LAW = "Rows of X and the coefficients are N(0, I), new for every prompt; {n} examples; labels are <x, w> without noise."


def what(form: Form) -> str:
    """Of a form, in words."""
    memory = {"none": "no memory", "momentum": "momentum", "hadamard": "a Hadamard memory"}
    moves = "inputs move with the layers (GD++)" if form.moving else "layers write labels alone"
    return f"{memory.get(form.memory, 'a Hadamard memory of the past')}; {moves}"


def made_of(config: Config, name: str, best: Chosen) -> Made:
    """The Transformer itself. A Hadamard memory knows the number of tokens; other forms answer more examples too."""
    transformer, params = parameters(best.form, best.theta, D, config.n)
    kind = "Linear self-attention" if name == "linear-attention" else "A Memformer"
    texts = {
        "summary": f"{kind} of {best.depth} layers, trained to regress in context; {what(best.form)}",
        "training": f"{config.steps} steps of {config.batch} prompts at a rate of 1e-2, from gradient descent; seed "
        f"{best.seed}, the best of {config.seeds} and of all depths and forms on validation draws.",
    }
    model = {
        "is": "Transformer",
        "config": asdict(transformer),
        "encoding": "stacked",
        "gives": "labels, linear in the query",
    }
    most = config.n if best.form.memory.startswith("hadamard") else max(TESTED)
    return Made(flat(params), model, texts, config.n, most)


def described(config: Config, run: Run, results: Results, name: str, best: Chosen, made: Made) -> Card:
    """The card, which says beside what it reached what least squares does."""
    laws = {"no noise": "", "noise": f", with noise of deviation {NOISE['noise']:g}"}
    noisy = {of: float(results[f"{name}/noise/{of}"][0, 0]) for of in (ASKED, *BASELINES)}
    limits = (
        "Without noise least squares is exact and this is not: it is worse at every n of its range. With noise of deviation "
        f"{NOISE['noise']:g} at {config.n} examples its mean relative error is {noisy[ASKED]:.4f}, that of least squares "
        f"{noisy['least squares']:.4f} and that of ridge regression {noisy['ridge']:.4f}. Its coefficients are its answers at "
        "the unit vectors. Columns that are correlated it was not trained on. It shows what so many layers of linear attention "
        "learn; to solve, take another method."
    )
    return Card(
        name=f"{name}-d{D}",
        task=f"{D} dense coefficients from y = X w, without noise.",
        command=command_of(run),
        d=D,
        n_least=made.n_least,
        n_most=made.n_most,
        law=LAW.format(n=config.n),
        label_mean_square=float(D),
        limits=limits,
        metrics=metrics_of(results, name, laws, config.n),
        model=made.model,
        **made.texts,
    )
