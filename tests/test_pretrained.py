"""What ships answers as its card says: small files without pickles, complete cards, errors that are measured again."""

import io
import json
import tomllib
import zipfile
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxl2o
from jaxl2o import cli, load_pretrained, recover
from jaxl2o.pretrained import NAMES, card, load_card
from jaxl2o.pretrained.model import flat, nested
from jaxl2o.solvers import adaptive, lista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.solvers.wrappers import safeguarded
from jaxl2o.tasks.mixture import gaussian, mixture_per_example
from jaxl2o.tasks.noise import snr
from jaxl2o.tasks.regression import linear_regression
from jaxl2o.tasks.sparse import bernoulli, exactly, fresh, sparse_recovery
from jaxl2o.types import Prompt

ROOT = Path(__file__).resolve().parent.parent
FOLDER = files("jaxl2o.pretrained")
FOR_EVERY = pytest.mark.parametrize("name", NAMES)
SIGNALS = 200
HALVES = jnp.array([0.5, 0.5])
# d of a card -> signals of its law, their measurements, how many are drawn, and what is asked of their solution
LAWS = {
    20: (sparse_recovery(exactly(20, 3), fresh(10, 20), n_queries=0), 10, SIGNALS, lambda w: w),
    500: (sparse_recovery(bernoulli(500, 0.1), fresh(250, 500), snr(40.0), n_queries=0), 250, 8, lambda w: w),
    5: (linear_regression(20, jnp.eye(5), n_queries=0), 20, SIGNALS, lambda w: w),
    8: (mixture_per_example(64, gaussian(8, 2, 8**-0.5), HALVES, 1.0), 64, SIGNALS, lambda both: both.mean(axis=0)),
}


def test_what_ships():
    """The models that are promised, in at most 20 MB together, each with weights and a card and nothing else."""
    assert {"in-context-alista-d20", "small-tf-d20", "small-tf-random-d20"} <= set(NAMES)
    assert {"alista-d500", "na-alista-d500", "linear-attention-d5", "memformer-d5", "mixture-encoder-d8"} <= set(NAMES)
    data = [file for file in FOLDER.iterdir() if file.name.endswith((".npz", ".json"))]
    assert sorted(file.name for file in data) == sorted(f"{name}.{kind}" for name in NAMES for kind in ("npz", "json"))
    assert sum(len(file.read_bytes()) for file in data) <= 20e6


def test_the_wheel_carries_all_that_is_no_code():
    """Every file of the library that is not Python is package data, and the command and its extra are declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["jaxl2o"]
    package = ROOT / "jaxl2o"
    carried = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert carried == others
    assert project["project"]["scripts"] == {"jaxl2o": "jaxl2o.cli:entry"}
    assert callable(cli.entry)
    assert {"rich", "tyro"} == {need.partition(">")[0] for need in project["project"]["optional-dependencies"]["cli"]}
    assert project["project"]["version"] == jaxl2o.__version__


@FOR_EVERY
def test_weights_are_numbers_alone(name):
    """Every member of the archive is a float32 array without objects, and finite."""
    content = (FOLDER / f"{name}.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert all(arrays[key].dtype == np.float32 and np.all(np.isfinite(arrays[key])) for key in arrays)
        assert zipfile.ZipFile(io.BytesIO(content)).namelist() == [f"{key}.npy" for key in arrays]


@FOR_EVERY
def test_a_card_is_complete(name):
    """Every field says something, the range has both ends, intervals hold their means, and its text reads back as itself."""
    own = load_card(name)
    assert own.name == name
    assert 0 < own.n_least <= own.n_most
    assert all(metric.low <= metric.value <= metric.high and metric.signals > 0 for metric in own.metrics)
    assert card.card_of(own.text()) == own
    assert any("as `recover` asks" in metric.of for metric in own.metrics)


def test_a_card_without_a_field_is_refused(refused):
    """What lacks a field, or says nothing in one, is no card."""
    fields = json.loads(load_card(NAMES[0]).text())
    refused(lambda: card.card_of(json.dumps({k: v for k, v in fields.items() if k != "limits"})), ("limits", "again"))
    refused(lambda: card.card_of(json.dumps({**fields, "law": ""})), ("law", "again"))


@FOR_EVERY
def test_the_error_that_a_card_tells(name, key):
    """On new signals of its law, asked as `recover` asks: within four standard errors of the card's number.

    A learned solver of 500 coefficients fails on rare signals, which carry its mean: few signals may show less, not more.
    """
    model = load_pretrained(name)
    task, n, count, truth = LAWS[model.card.d]
    own = next(metric for metric in model.card.metrics if f"{n} measurements, as `recover`" in metric.of)

    def error(key):
        instance = task.sample(key)
        x, right = instance.prompt.x, truth(instance.solution)
        column = jnp.sqrt(jnp.mean(x**2, axis=0))
        w = model.method(instance.prompt._replace(x=x / column[None], x_query=None)) / column
        return jnp.sum((w - right) ** 2), jnp.sum(right**2)

    errors, sizes = jax.jit(lambda keys: jax.lax.map(error, keys, batch_size=8 if count < SIGNALS else count))(
        jax.random.split(key, count)
    )
    relative = np.asarray(errors) / np.mean(sizes)
    above = relative.mean() - own.value
    spread = 4.0 * relative.std() / np.sqrt(count) + (own.high - own.low) / 2.0
    assert above <= spread
    assert model.card.d == 500 or above >= -spread


@pytest.mark.parametrize("name", ["in-context-alista-d20", "na-alista-d500", "memformer-d5", "mixture-encoder-d8"])
def test_in_any_units(name):
    """recover by a model's name: labels times c have coefficients times c, a column times s has its own over s."""
    rng, d = np.random.default_rng(0), load_card(name).d
    n = {20: 10, 500: 250, 5: 20, 8: 64}[d]
    x, beta = rng.normal(size=(n, d)), np.where(np.arange(d) < 2, 1.0, 0.0)
    found, factor = recover(x, x @ beta, name), rng.uniform(0.1, 10.0, size=d)
    assert np.linalg.norm(found - beta) < 0.4 * np.linalg.norm(beta)
    np.testing.assert_allclose(recover(x * factor, 1e6 * (x @ beta), name) * factor / 1e6, found, rtol=1e-6, atol=1e-9)
    assert np.all(recover(x, np.zeros(n), name) == 0.0)


def of_law(name, key):
    """A model, its parameters in float64, and a prompt whose columns and labels have the mean squares of its law."""
    model = load_pretrained(name)
    prompt = LAWS[model.card.d][0].sample(key).prompt
    x = prompt.x / jnp.sqrt(jnp.mean(prompt.x**2, axis=0))[None]
    y = prompt.y * jnp.sqrt(model.card.label_mean_square / jnp.mean(prompt.y**2))
    return model, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), model.params), Prompt.of(x, y)


@pytest.mark.parametrize("name", ["alista-d500", "na-alista-d500"])
def test_a_learned_solver_is_its_solver(name, key):
    """The method is ALISTA, or NA-ALISTA, on unit columns, with the weights w_i = G^-1 a_i / (a_i' G^-1 a_i) of this very X."""
    model, params, prompt = of_law(name, key)
    unit = prompt._replace(x=prompt.x / np.sqrt(250), y=prompt.y / np.sqrt(250))
    rows = np.linalg.solve(unit.x @ unit.x.T, unit.x).T
    weight = jnp.asarray(rows / np.sum(rows * unit.x.T, axis=1)[:, None])
    trusted = tuple(model.card.model["trusted"])
    if name == "alista-d500":
        solver = lista.alista(weight, params, trusted)
    else:
        solver = adaptive.na_alista(weight, params[0], trusted, params[1])
    expected = unroll(safeguarded(solver), unit, len(trusted), keep="last")
    assert np.linalg.norm(expected) > 0.0
    np.testing.assert_allclose(model.method(prompt), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["linear-attention-d5", "memformer-d5"])
def test_linear_attention_answers_by_its_coefficients(name, key):
    """At any query the Transformer that ships answers <x, w>, with the w that its method gives."""
    model, params, prompt = of_law(name, key)
    query = jax.random.normal(key, (1, 5))
    answer = model.learner.predict(params, prompt._replace(x_query=query))[-1]
    np.testing.assert_allclose(answer, query @ model.method(prompt), rtol=1e-6, atol=1e-9)


def test_the_encoder_sees_a_set(key):
    """The mixture's encoder answers the mean of its components, in whatever order the examples are told."""
    model, params, prompt = of_law("mixture-encoder-d8", key)
    own = model.method(prompt)
    np.testing.assert_allclose(own, model.learner.predict(params, prompt)[-1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(model.method(prompt._replace(x=prompt.x[::-1], y=prompt.y[::-1])), own, rtol=1e-6, atol=1e-9)


def test_outside_of_its_range(refused):
    """Another d, or an n that it was not trained on, is refused in one sentence that names both; so is another name."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 21))
    refused(lambda: recover(x, x[:, 0], "small-tf-d20"), ("20 coefficients from 6 to 19", "(10, 21)", "'lasso'"))
    refused(lambda: load_pretrained("in-context-alista-d20").method(Prompt.of(x[:1, :20], x[:1, 0])), ("(1, 20)",))
    refused(lambda: recover(x[:, :5], x[:, 0], "linear-attention-d5"), ("5 coefficients from 20", "(10, 5)", "'lasso'"))
    refused(lambda: recover(np.ones((64, 9)), np.ones(64), "mixture-encoder-d8"), ("8 coefficients from 16 to 128", "(64, 9)"))
    refused(lambda: load_pretrained("gpt2"), ("'gpt2'", "small-tf-d20"))


def test_parameters_by_name():
    """`nested` undoes `flat`, and the learner that ships takes the parameters that ship: its last answer is the method's."""
    model = load_pretrained("in-context-alista-d20")
    tree = {"a": {"b": np.ones(2), "c": {"d": np.zeros(1)}}, "e": np.ones(3)}
    assert jax.tree.all(jax.tree.map(np.array_equal, nested(flat(tree)), tree))
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, 20))
    y = x[:, 0] * np.sqrt(model.card.label_mean_square / np.mean(x[:, 0] ** 2))
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=float), model.params)
    path = model.learner.predict(wide, Prompt.of(x, y))
    np.testing.assert_allclose(model.method(Prompt.of(x, y)), path[-1], rtol=1e-6, atol=1e-9)
