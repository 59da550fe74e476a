"""The encoder that ships, as it is trained, and its card."""

from dataclasses import asdict, replace

from experiments.common import Results, Run
from experiments.mixture.trained.config import TRAINING
from experiments.mixture.trained.fresh import COUNT
from experiments.mixture.trained.networks import main_shape, trained
from experiments.mixture.weights.config import Config
from experiments.mixture.weights.measuring import BASELINES, NAME, label_mean_square, law_of
from experiments.shipping import ASKED, Made, command_of, metrics_of
from jaxl2o.models.presets import mixture_encoder
from jaxl2o.pretrained.card import Card
from jaxl2o.pretrained.model import flat

LAW = (
    "Rows of X are N(0, I); two components N(0, I / {d}), new for every prompt; each label is that of one or the other, at "
    "random and as likely, with noise of deviation {noises}."
)


def made_of(config: Config, run: Run) -> Made:
    """The main network of `mixture.trained`, of one seed."""
    shape = main_shape(config.network)
    found = trained(config.network, run, shape, COUNT, config.ratios, config.steps, TRAINING[0])
    encoder = mixture_encoder(config.d, shape.depth, shape.width, config.heads, shape.attention)
    first, second = config.steps
    texts = {
        "summary": f"Encoder of ReLU attention, {shape.depth} layers, width {shape.width}, for the mean of two linear models",
        "training": f"{first} steps of {config.batch} prompts of {min(config.lengths)} to {config.short} examples, then "
        f"{second} of up to {max(config.lengths)}; {config.queries} noisy labels a prompt; seed {TRAINING[0]}.",
    }
    model = {
        "is": "Transformer",
        "config": asdict(replace(encoder, unroll=False)),
        "encoding": "marked summary",
        "gives": "the mean of all components",
    }
    return Made(flat(found.params), model, texts, min(config.lengths), max(config.lengths))


def described(config: Config, run: Run, results: Results, made: Made) -> Card:
    """The card, which says beside what it reached what EM and the linear estimate do."""
    longest, highest = len(config.lengths) - 1, law_of(max(config.ratios))
    own, linear, em = (float(results[f"{NAME}/{highest}/{of}"][longest, 0]) for of in (ASKED, *BASELINES))
    noises = " or ".join(f"{1.0 / ratio:g}" for ratio in config.ratios)
    limits = (
        "It answers the mean of both components, not the components, and what a label of a fresh example is on average. It is "
        f"not told the noise. At {max(config.lengths)} examples and a signal-to-noise ratio of {max(config.ratios)} its mean "
        f"relative error is {own:.3g}, that of the best linear estimate {linear:.3g} and that of EM {em:.3g}: where noise is "
        "low and examples are many, take EM."
    )
    cells = [results[f"{NAME}/{law_of(ratio)}/{of}"][:, 0] for ratio in config.ratios for of in (ASKED, BASELINES[0])]
    worst = max(float((own / linear).max()) for own, linear in zip(cells[::2], cells[1::2], strict=True))
    limits += f" At its worst cell it errs {worst:.3g} times as much as the linear estimate, which knows noise and law."
    noisiest = float(results[f"{NAME}/{law_of(min(config.ratios))}/{ASKED}"][0, 0])
    if noisiest > 1.0:
        limits += (
            f" With {min(config.lengths)} examples at a ratio of {min(config.ratios)} it errs {noisiest:.3g} when asked so, "
            "more than zero does: the scale of the labels, which is taken away, told it of the noise."
        )
    lowest = {law_of(ratio): f", signal to noise {ratio}" for ratio in config.ratios}
    usual = config.lengths[min(2, longest)]
    return Card(
        name=f"{NAME}-d{config.d}",
        task=f"The mean of two components of {config.d} coefficients each, from labels of either with noise.",
        command=command_of(run),
        d=config.d,
        n_least=made.n_least,
        n_most=made.n_most,
        law=LAW.format(d=config.d, noises=noises),
        label_mean_square=label_mean_square(config),
        limits=limits,
        metrics=metrics_of(results, NAME, lowest, usual),
        model=made.model,
        **made.texts,
    )
