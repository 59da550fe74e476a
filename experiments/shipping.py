"""What the experiments share that make the weights that ship: what is made, how it is asked, written, kept and shown."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from rich.table import Table

import jaxl2o
from experiments.common import Results, Run, write_atomically
from experiments.figures import style_of
from jaxl2o.checks import require
from jaxl2o.evaluation.curves import curve, squared_errors
from jaxl2o.pretrained.card import Card, Metric
from jaxl2o.pretrained.model import Model, in_units_of_law
from jaxl2o.pretrained.models import built
from jaxl2o.tasks.shift import at_length
from jaxl2o.types import Key, Params, Prompt, ScalarLike, Task, design_matrix

Arrays = dict[str, Any]
# a prompt without queries -> its coefficients
Method = Callable[[Prompt], Float[Array, " d"]]

INFINITE = 1e30  # what an error that overflowed counts as
ASKED, TRAINED = "as `recover` asks", "as trained"
# of the figure: the algorithm of a model, and of a baseline that results name shortly
ALGORITHM_OF = {
    "alista": "ALISTA",
    "na-alista": "NA-ALISTA",
    "linear-attention": "linear attention",
    "memformer": "Memformer",
    "mixture-encoder": "Transformer",
    "linear": "best linear in y",
    "restarted": "EM, best of several",
}


class Made(NamedTuple):
    """arrays: the parameters by name.  model: how `jaxl2o.pretrained` builds it.  texts: of the card.

    n_least, n_most: the numbers of measurements that it answers.
    """

    arrays: Arrays
    model: dict[str, Any]
    texts: dict[str, str]
    n_least: int
    n_most: int


def loaded(made: Made, d: int) -> tuple[Model, Params]:
    """The model, and its parameters as its learner takes them."""
    model = built(d, made.model)
    return model, jax.tree.map(jnp.asarray, model.params(made.arrays))


def on_columns(answer: Method) -> Method:
    """What a method answers where columns have mean square 1, as `recover` makes them, in the prompt's own units."""

    def scaled(prompt: Prompt) -> Float[Array, " d"]:
        x = design_matrix(prompt)
        column = jnp.sqrt(jnp.sum(x**2, axis=0) / prompt.n_used)
        unit = jnp.where(column > 0.0, column, 1.0)
        return answer(prompt._replace(x=x / unit[None])) / unit

    return scaled


def as_users_ask(model: Model, params: Params, label_mean_square: float) -> Method:
    """As `recover` asks: labels are given the mean square that they have on average in training, which is undone."""
    answer = in_units_of_law(model.answer, label_mean_square)
    return on_columns(lambda prompt: answer(params, prompt))


def both_ways(made: Made, d: int, label_mean_square: float) -> dict[str, Method]:
    """The model as users ask it, and as it was trained, in the units of its law."""
    model, params = loaded(made, d)
    return {ASKED: as_users_ask(model, params, label_mean_square), TRAINED: lambda prompt: model.answer(params, prompt)}


def row(errors: Float[np.ndarray, " count"], sizes: Float[np.ndarray, " count"]) -> Float[np.ndarray, "4"]:
    """The mean relative error, a ratio of means, with its 95 % interval by bootstrap over signals, and their number."""
    found = curve(jnp.minimum(jnp.nan_to_num(errors, nan=INFINITE), INFINITE)[:, None], jnp.asarray(sizes))
    return np.array([found.mean[0], found.low[0], found.high[0], found.n_tasks])


def compare(
    results: Results,
    name: str,
    methods: Callable[[ScalarLike], dict[str, Method]],
    task: Callable[[ScalarLike], Task],
    laws: dict[str, float],
    lengths: tuple[int, ...],
    key: Key,
    count: int,
    chunk: int,
) -> None:
    """The rows of all methods, on the same signals, under every law and by the number of measurements.

    laws: each a number, of which `methods` are made, and `task`, whose prompts have as many measurements as the last length.
    """

    @jax.jit
    def errors(number: ScalarLike, length: ScalarLike) -> tuple[Array, Array]:
        of_law = methods(number).values()

        def answers(prompt: Prompt) -> Float[Array, "methods d"]:
            return jnp.stack([method(prompt) for method in of_law])

        return squared_errors(answers, at_length(task(number), length), key, count, chunk)

    results[f"{name}/lengths"] = np.array(lengths)
    for law, number in laws.items():
        found = [errors(jnp.asarray(number), jnp.asarray(length)) for length in lengths]
        for place, method in enumerate(methods(number)):
            rows = [row(np.asarray(own[:, place]), np.asarray(sizes)) for own, sizes in found]
            results[f"{name}/{law}/{method}"] = np.stack(rows)


def metrics_of(results: Results, name: str, laws: dict[str, str], n: int) -> tuple[Metric, ...]:
    """Of a model's rows, those of its card: as trained and as `recover` asks at n, then as `recover` asks elsewhere.

    laws: what a card says of each law of test signals; the first is that of training.
    """
    lengths = results[f"{name}/lengths"].tolist()

    def told(of: str, law: str, length: int) -> Metric:
        value, low, high, signals = results[f"{name}/{law}/{of}"][lengths.index(length)].tolist()
        title = f"relative error of coefficients, {length} measurements, {of}{laws[law]}"
        return Metric(title, value, low, high, int(signals))

    first, *others = laws
    elsewhere = [told(ASKED, first, length) for length in lengths if length != n]
    return (
        told(TRAINED, first, n),
        told(ASKED, first, n),
        *elsewhere,
        *(told(ASKED, law, length) for law in others for length in lengths),
    )


def command_of(run: Run) -> str:
    """What makes the weights of this run again."""
    return f"python -m experiments {run.folder.parent.name} --preset {run.folder.name} --keep"


def write(run: Run, card: Card, arrays: Arrays) -> None:
    """Weights and card, in the run's folder `weights`."""
    folder = run.folder / "weights"
    folder.mkdir(exist_ok=True)
    numbers = {key: np.asarray(leaf, dtype=np.float32) for key, leaf in arrays.items()}
    write_atomically(folder / f"{card.name}.json", lambda path: path.write_text(card.text(), encoding="utf-8"))
    write_atomically(folder / f"{card.name}.npz", lambda path: np.savez_compressed(path, allow_pickle=False, **numbers))


def keep_weights(folder: Path, preset: str) -> None:
    """Copies weights and cards of a run to where they ship from; refuses those of another preset, whose sizes differ."""
    require(folder.name == preset, f"{folder} has weights of other sizes than ship; keep those of the preset {preset} alone.")
    for path in sorted((folder / "weights").iterdir()):
        target = Path(jaxl2o.__file__).parent / "pretrained" / path.name
        write_atomically(target, lambda temporary, path=path: shutil.copyfile(path, temporary))


def cells(results: Results) -> dict[str, dict[str, dict[str, Float[np.ndarray, "lengths 4"]]]]:
    """Model -> law of test signals -> method -> its rows by the number of measurements."""
    found: dict[str, dict[str, dict[str, Float[np.ndarray, "lengths 4"]]]] = {}
    for key, rows in results.items():
        name, _, rest = key.partition("/")
        law, _, method = rest.partition("/")
        if method and f"{name}/lengths" in results:
            found.setdefault(name, {}).setdefault(law, {})[method] = rows
    return found


def plot(results: Results) -> Figure:
    """A panel for every model and law: mean relative errors with 95 % intervals, by the number of measurements."""
    shown = cells(results)
    columns = max(len(laws) for laws in shown.values())
    size = (1.0 + 3.0 * columns, 0.6 + 2.7 * len(shown))
    figure, panels = plt.subplots(len(shown), columns, figsize=size, squeeze=False, sharex="row", sharey="row")
    for axes_of_row, (name, laws) in zip(panels, shown.items(), strict=True):
        for axes in axes_of_row[len(laws) :]:
            axes.set_visible(False)
        for axes, (law, methods) in zip(axes_of_row, laws.items(), strict=False):
            for method, rows in methods.items():
                value, low, high, _ = np.maximum(rows, 1e-9).T
                ways = {ASKED: "-", TRAINED: "--"}
                algorithm = name if method in ways else method
                style = style_of(ALGORITHM_OF.get(algorithm, algorithm))
                axes.errorbar(
                    results[f"{name}/lengths"],
                    value,
                    (value - np.minimum(low, value), np.maximum(high, value) - value),
                    color=style["color"],
                    linestyle=ways.get(method, style["linestyle"]),
                    marker="." if method in ways else "x",
                    label=ALGORITHM_OF.get(method, method),
                )
            axes.set(yscale="log", xlabel="measurements", title=f"{ALGORITHM_OF.get(name, name)}: {law}")
            axes.set_xticks(results[f"{name}/lengths"], minor=False)
        axes_of_row[0].set_ylabel("mean relative error")
        axes_of_row[0].legend(fontsize=7, handlelength=3.0)
    return figure


def table(results: Results) -> Table:
    """Every model and its baselines, on the same test signals."""
    shown = Table("model", "signals", "measurements", "method", "relative error", "95 % interval")
    for name, laws in cells(results).items():
        for law, methods in laws.items():
            for place, length in enumerate(results[f"{name}/lengths"]):
                for method, rows in methods.items():
                    value, low, high, _ = rows[place]
                    shown.add_row(name, law, str(length), method, f"{value:.4g}", f"{low:.4g} … {high:.4g}")
    return shown
