"""What memories can do and what none can: linearity in the labels, undamped ties, exact conjugate gradients; and experts."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.checks import InputError
from jaxl2o.constructions.construction import merge
from jaxl2o.constructions.first_order import conjugate_gradient, gradient_descent_with_momentum, linear_first_order
from jaxl2o.constructions.gradient_descent import gaussian_prompt, gradient_descent
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.encoding import scratch, stacked
from jaxl2o.models.experts import fitted, gated, gates_learner, inverse_variance, routing
from jaxl2o.models.learner import transformer_learner
from jaxl2o.models.presets import memformer
from jaxl2o.models.transformer import Transformer
from jaxl2o.solvers.momentum import Steps
from jaxl2o.types import Prompt

SEEDS = st.integers(0, 2**31 - 1)
D, N, DEPTH = 4, 9, 3
ENCODING = stacked(D)
CONFIGS = {
    "none": memformer(D, DEPTH, "none"),
    "momentum": memformer(D, DEPTH, "momentum", heads=2),
    "lfom": memformer(D, DEPTH, "lfom", heads=2),
    "lfom_tied": memformer(D, DEPTH, "lfom_tied"),
    "hadamard": memformer(D, DEPTH, "hadamard", n=N),
    "hadamard_past": memformer(D, DEPTH, "hadamard_past", n=N),
}


def draw(seed: int, noise: float = 0.0) -> Prompt:
    """y = <x, w> + noise, and one query."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(N, D)), rng.normal(size=D)
    return Prompt.of(x, x @ w + noise * rng.normal(size=N), rng.normal(size=(1, D)))


def random_params(config: TransformerConfig, seed: int = 0):
    """All leaves at random, in the sparsity that descends on labels: scores of x with x, writes from label to label."""
    tokens = ENCODING.tokens(draw(0))
    tree = jax.eval_shape(Transformer(config).init, jax.random.key(0), tokens)["params"]
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape)), tree)
    attention = params["layers"]["attention"]
    label = jnp.zeros((D + 1, D + 1)).at[D, D].set(1.0)
    attention["write"] = jnp.broadcast_to(label, attention["write"].shape)
    attention["score"] = attention["score"].at[:, D].set(0.0).at[..., D].set(0.0)
    return params


@cache
def answers(name: str):
    """(params, prompt) -> the answers after 0..L layers."""
    return jax.jit(transformer_learner(CONFIGS[name], ENCODING).predict)


# --- what no fixed parameters can do ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
@given(seed=SEEDS, a=st.floats(-3.0, 3.0))
def test_fixed_parameters_are_linear_in_the_labels(name, seed, a):
    """Answers to labels a y + z are a times those to y, plus those to z, for any scores and any memory but `conjugate`."""
    params, prompt, other = random_params(CONFIGS[name], seed % 7), draw(seed), draw(seed + 1)
    both, first, second = (answers(name)(params, prompt._replace(y=y)) for y in (a * prompt.y + other.y, prompt.y, other.y))
    np.testing.assert_allclose(
        both, a * first + second, rtol=0.0, atol=1e-9 * (1.0 + np.abs(first).max() + np.abs(second).max())
    )


@cache
def exact(depth: int):
    """(prompt) -> answers of the layers that run conjugate gradients."""
    construction = conjugate_gradient(jnp.eye(D), depth)
    learner = transformer_learner(construction.config, construction.encoding)
    return jax.jit(lambda prompt: learner.predict(construction.params, prompt))


@given(seed=SEEDS)
def test_conjugate_gradients_are_not_linear(seed):
    """Before the last layer the answers to y + z are not the sums of those to y and to z: no fixed parameters give them."""
    prompt, other = draw(seed), draw(seed + 1)
    both, first, second = (exact(2 * D)(prompt._replace(y=y)) for y in (prompt.y + other.y, prompt.y, other.y))
    defect = np.abs(np.asarray(both - first - second))[:, 0]
    assert defect[1:D].max() > 1e-3
    assert defect[D:].max() < 1e-8


# --- conjugate gradients, exactly ------------------------------------------------------------------------------------------


@given(seed=SEEDS, noise=st.sampled_from([0.0, 0.5]))
def test_d_layers_are_the_answer(seed, noise):
    """After d layers the answer is that of least squares, and layers beyond change nothing; with noise to half the digits."""
    prompt = draw(seed, noise)
    w = np.linalg.lstsq(np.asarray(prompt.x), np.asarray(prompt.y), rcond=None)[0]
    found, answer = np.asarray(exact(2 * D)(prompt))[:, 0], float(np.asarray(prompt.x_query)[0] @ w)
    assert abs(found[D] - answer) <= (1e-9 if noise == 0.0 else 1e-6) * (1.0 + abs(answer))
    assert np.ptp(found[D + 1 :]) <= (1e-12 if noise == 0.0 else 1e-6) * (1.0 + abs(answer))


def test_gradients_beyond_the_answer_are_finite():
    """The division is guarded in the backward pass too: in parameters and labels, also where no example is used."""
    construction, prompt = conjugate_gradient(jnp.eye(D), 2 * D), draw(3)
    learner = transformer_learner(construction.config, construction.encoding)
    gradient = jax.jit(jax.grad(lambda params, y, prompt: learner.predict(params, prompt._replace(y=y)).sum(), argnums=(0, 1)))
    for used in (np.ones(N, dtype=bool), np.zeros(N, dtype=bool)):
        given_ = Prompt.of(prompt.x, prompt.y, prompt.x_query, used)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(construction.params, given_.y, given_)))


# --- ties ------------------------------------------------------------------------------------------------------------------


@cache
def tied_and_momentum():
    """(weights, prompt) -> answers with tied coefficients, and of the momentum that they are."""
    plain = gradient_descent(D, DEPTH, 1.0)
    tied = transformer_learner(replace(plain.config, memory="lfom_tied"), ENCODING)

    def run(weights, prompt):
        params = {"layers": plain.params["layers"] | {"memory": {"coefficient": weights[:, None]}}}
        decay = jnp.concatenate([jnp.zeros(1), weights[:-1] / weights[1:]])
        momentum = gradient_descent_with_momentum(Steps(weights, decay), jnp.eye(D))
        learner = transformer_learner(momentum.config, momentum.encoding)
        return tied.predict(params, prompt), learner.predict(momentum.params, prompt)

    return jax.jit(run)


@given(seed=SEEDS)
def test_tied_coefficients_are_undamped_momentum(seed):
    """W_l = sum_j c_j A_j is a register with alpha_l = c_l and gamma_l = c_{l-1} / c_l: its moves never decay."""
    weights = np.random.default_rng(seed).uniform(0.2, 1.0, DEPTH)
    tied, momentum = tied_and_momentum()(weights, draw(seed))
    np.testing.assert_allclose(tied, momentum, rtol=1e-10, atol=1e-12)


def test_hadamard_weights_that_are_alike_are_one_coefficient():
    """G_j = c_j everywhere is the tied form; with the past alone the newest counts once, W_l = A_l + sum_{j<l} c_j A_j."""
    weights, prompt, plain = np.array([0.5, 0.3, 0.7]), draw(0), gradient_descent(D, DEPTH, 1.0)
    alike = jnp.broadcast_to(jnp.asarray(weights)[:, None, None, None], (DEPTH, 1, D + 1, N + 1))

    def by_age(newest):
        source = [[weights[t - k] if k else newest(t) for k in range(t + 1)] + [0.0] * (DEPTH - t - 1) for t in range(DEPTH)]
        return linear_first_order(jnp.asarray(source), jnp.broadcast_to(jnp.eye(D), (DEPTH, D, D)))

    for memory, newest in (("hadamard", lambda t: weights[t]), ("hadamard_past", lambda t: 1.0)):
        config = replace(plain.config, memory=memory, tokens=N + 1)
        params = {"layers": plain.params["layers"] | {"memory": {"weights": alike}}}
        found, same = transformer_learner(config, ENCODING).predict(params, prompt), by_age(newest)
        expected = transformer_learner(same.config, ENCODING).predict(same.params, prompt)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_hadamard_weights_are_no_diagonal_matrix():
    """The weights that turn <x_i, g> into <x_i, L g>, L diagonal, are a token's own on each prompt: none serve two."""
    diagonal = np.arange(1.0, D + 1.0)

    def needed(seed):
        x, y = np.asarray(draw(seed).x), np.asarray(draw(seed).y)
        gradient = x.T @ y
        return x @ (diagonal * gradient) / (x @ gradient)

    apart = np.abs(needed(0) - needed(1)) / np.abs(needed(0))
    assert apart.min() > 0.01
    assert np.median(apart) > 0.3


def test_heads_that_write_labels_are_one_head():
    """The sum of heads of preconditioners A_h is one head of their sum: one head reaches what several do."""
    config = memformer(D, DEPTH, "none", heads=3)
    params, prompt = random_params(config), draw(0)
    attention = params["layers"]["attention"]
    one = {"score": attention["score"].sum(axis=2, keepdims=True), "write": attention["write"][:, :1]}
    expected = transformer_learner(config, ENCODING).predict(params, prompt)
    found = transformer_learner(replace(config, heads=1), ENCODING).predict({"layers": {"attention": one}}, prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# --- experts ---------------------------------------------------------------------------------------------------------------


@cache
def experts(name: str = "lfom"):
    """Three random Transformers, and all of them side by side."""
    config = CONFIGS[name]
    trees = [random_params(config, seed) for seed in range(3)]
    return config, trees, *merge(config, trees)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gate_chooses_an_expert(name):
    """With one gate of one and the others of zero the merged Transformer is that expert."""
    config, trees, merged, params = experts(name)
    prompt, gate = draw(0), np.eye(3)
    for tree, row in zip(trees, gate, strict=True):
        found = transformer_learner(merged, gated(ENCODING, fitted(jnp.asarray(row)), config.heads)).predict(params, prompt)
        np.testing.assert_allclose(found, answers(name)(tree, prompt), rtol=1e-10, atol=1e-12)


def test_one_layer_is_linear_in_the_gates():
    """After one layer the answer is the sum over experts of gates times answers; and gates of one change nothing."""
    config, trees, merged, params = experts()
    prompt, gate = draw(1), np.array([0.3, -1.2, 2.0])
    alone = [answers("lfom")(tree, prompt)[1] for tree in trees]
    found = transformer_learner(merged, gated(ENCODING, fitted(jnp.asarray(gate)), config.heads)).predict(params, prompt)
    np.testing.assert_allclose(found[1], gate @ np.stack(alone), rtol=1e-10)
    ungated = transformer_learner(merged, ENCODING).predict(params, prompt)
    ones = transformer_learner(merged, gated(ENCODING, fitted(jnp.ones(3)), config.heads)).predict(params, prompt)
    np.testing.assert_allclose(ones, ungated, rtol=1e-12)


def test_fitted_gates_are_the_only_parameters():
    """The learner's parameters are one number for every expert, with a gradient; the experts stay as they are."""
    config, _, merged, params = experts()
    learner, prompt = gates_learner(merged, ENCODING, params, 3), draw(2)
    start = learner.init(jax.random.key(0), prompt)
    assert start.shape == (3,)
    assert np.all(np.asarray(learner.predict(start, prompt)) == 0.0)
    gate = jnp.asarray([0.5, 0.1, 0.2])
    expected = transformer_learner(merged, gated(ENCODING, fitted(gate), config.heads)).predict(params, prompt)
    np.testing.assert_allclose(learner.predict(gate, prompt), expected, rtol=1e-12)
    assert np.all(np.asarray(jax.grad(lambda gate: learner.predict(gate, prompt)[-1, 0])(gate)) != 0.0)


@cache
def by_variance():
    """(prompt) -> answers of momentum, gated by one over the variance of the prompt's inputs."""
    construction = gradient_descent_with_momentum(Steps(jnp.asarray([0.7, 0.8, 0.7]), jnp.asarray([0.0, 0.2, 0.3])), jnp.eye(D))
    learner = transformer_learner(construction.config, gated(construction.encoding, inverse_variance(float(D))))
    return jax.jit(lambda prompt: learner.predict(construction.params, prompt))


@given(seed=SEEDS, factor=st.floats(0.05, 20.0))
def test_the_gate_of_variance_is_equivariant(seed, factor):
    """Answers to (c x, c w) are c^2 times those to (x, w), at every layer: relative 1e-10."""
    prompt = draw(seed)
    scaled = Prompt.of(factor * prompt.x, factor**2 * prompt.y, factor * prompt.x_query)
    plain = np.asarray(by_variance()(prompt))
    np.testing.assert_allclose(by_variance()(scaled) / factor**2, plain, rtol=0.0, atol=1e-10 * np.abs(plain).max())


def test_the_gate_of_variance_is_the_variance():
    """It is the trace over the mean squared length of the used examples, and one where there are none."""
    prompt = draw(4)
    half = Prompt.of(prompt.x, prompt.y, prompt.x_query, np.arange(N) < 5)
    expected = 7.0 / np.mean(np.sum(np.asarray(prompt.x)[:5] ** 2, axis=1))
    np.testing.assert_allclose(inverse_variance(7.0)(half), [expected], rtol=1e-12)
    none = Prompt.of(prompt.x, prompt.y, prompt.x_query, np.zeros(N, dtype=bool))
    assert np.asarray(inverse_variance(7.0)(none)) == 1.0


MEANS, VARIANCES, WEIGHTS = np.array([2.5, 0.0, -1.0]), np.array([0.5, 1.0, 2.0]), np.array([0.2, 0.3, 0.5])


@given(seed=SEEDS, n_used=st.integers(0, N))
def test_routing_is_the_posterior(seed, n_used):
    """Bayes' rule with SciPy's normal densities of the used inputs; without examples the prior."""
    prompt = draw(seed)
    prompt = Prompt.of(prompt.x, prompt.y, prompt.x_query, np.arange(N) < n_used)
    x = np.asarray(prompt.x)[:n_used].ravel()
    logs = np.log(WEIGHTS) + scipy.stats.norm.logpdf(x[:, None], MEANS, np.sqrt(VARIANCES)).sum(axis=0)
    expected = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    found = routing(jnp.asarray(MEANS), jnp.asarray(VARIANCES), jnp.asarray(WEIGHTS))(prompt)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_what_cannot_be_merged_is_refused():
    """Only heads stand side by side; and every expert has as many heads."""
    with pytest.raises(InputError, match="only heads"):
        merge(TransformerConfig(depth=1, heads=1, width=3, mlp_dim=4), [{}])
    with pytest.raises(InputError, match="no experts"):
        merge(CONFIGS["lfom"], [])
    with pytest.raises(InputError, match="6 heads for 4 experts"):
        gates_learner(replace(CONFIGS["lfom"], heads=6), ENCODING, {}, 4)
    with pytest.raises(InputError, match="trace"):
        inverse_variance(0.0)


def test_prompts_of_any_length_without_examples():
    """n = 0 answers zero at every layer of every memory that takes any length."""
    empty = Prompt.of(np.zeros((0, D)), np.zeros(0), np.ones((2, D)))
    for name in ("none", "momentum", "lfom", "lfom_tied"):
        found = transformer_learner(CONFIGS[name], ENCODING).predict(random_params(CONFIGS[name]), empty)
        assert np.all(np.asarray(found) == 0.0)
    prompt = gaussian_prompt(D, n=N, m=2)(jax.random.key(0))
    assert np.asarray(exact(DEPTH)(prompt)).shape == (DEPTH + 1, 2)
    assert np.all(np.asarray(exact(DEPTH)(empty)) == 0.0)


def test_a_gated_decoder_does_not_look_ahead():
    """A gate reads the whole prompt, so prefixes are answered one by one: each as the prompt that it is."""
    config = TransformerConfig(depth=2, heads=1, width=2 * D + 2)
    encoding = gated(scratch(D), inverse_variance(float(D)))
    learner, prompt = transformer_learner(config, encoding), draw(5)
    params = jax.jit(learner.init)(jax.random.key(0), prompt)
    short = Prompt.of(prompt.x[:4], prompt.y[:4], prompt.x[4:5])
    prefixes, predict = jax.jit(learner.prefixes), jax.jit(learner.predict)
    np.testing.assert_allclose(prefixes(params, prompt)[:, 4], predict(params, short)[:, 0], rtol=1e-10)


def test_gates_and_tokens_that_do_not_fit_are_refused():
    """A gate a head; as many tokens as a Hadamard memory was made for; no biases and no half precision."""
    config, _, merged, params = experts()
    with pytest.raises(InputError, match="gate"):
        transformer_learner(merged, gated(ENCODING, fitted(jnp.ones(3)))).predict(params, draw(0))
    short = Prompt.of(np.ones((N - 1, D)), np.ones(N - 1), np.ones((1, D)))
    with pytest.raises(InputError, match="scale"):
        transformer_learner(CONFIGS["hadamard"], ENCODING).predict(random_params(CONFIGS["hadamard"]), short)
    with pytest.raises(InputError, match="bias"):
        replace(config, bias="all")
    with pytest.raises(InputError, match="all digits"):
        replace(config, memory="conjugate", dtype="bfloat16")
