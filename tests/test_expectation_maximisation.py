"""Expectation maximisation for mixtures of regressions: what never falls, where it stands still, what it commutes with."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture

from jaxl2o.objectives import mixture_loss
from jaxl2o.solvers.expectation_maximisation import (
    Mixture,
    annealed_em,
    estimating_em,
    expectation_maximisation,
    expected_signs,
    gradient_em,
    responsibilities,
    symmetric_em,
    symmetric_gradient_em,
)
from jaxl2o.solvers.starts import best_start, in_spectral_subspace, symmetric_spectral_start
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

N, D, K, STEPS, NOISE = 40, 3, 3, 8, 0.5
WEIGHTS, WEIGHT, FLOOR = jnp.array([0.2, 0.3, 0.5]), 0.7, 0.05


def both(b):
    """The components b and -b."""
    return jnp.stack([b, -b])


def loss(components, prompt):
    """Minus the mean log-likelihood of the K components."""
    return mixture_loss(components, prompt, WEIGHTS, NOISE)


def symmetric_loss(b, prompt):
    """The same of b and -b."""
    return mixture_loss(both(b), prompt, jnp.array([WEIGHT, 1.0 - WEIGHT]), NOISE)


# name -> solver, objective, what a start is made of
SOLVERS = {
    "exact": (expectation_maximisation(WEIGHTS, NOISE), loss),
    "gradient": (gradient_em(WEIGHTS, NOISE, 0.3, 2), loss),
    "symmetric": (symmetric_em(WEIGHT, NOISE), symmetric_loss),
    "symmetric-gradient": (symmetric_gradient_em(WEIGHT, NOISE, 0.3, 2), symmetric_loss),
    "estimating": (
        estimating_em(FLOOR),
        lambda mixture, p: mixture_loss(mixture.components, p, mixture.weights, mixture.noise),
    ),
}
EVERY_SOLVER = pytest.mark.parametrize("name", SOLVERS)
EXACT = {name: SOLVERS[name][0] for name in ("exact", "symmetric")}


def start_of(name, components):
    """A start for a solver, from K components."""
    if name.startswith("symmetric"):
        return components[0]
    return Mixture(components, WEIGHTS, jnp.array(NOISE)) if name == "estimating" else components


def arrays(seed, n=N, d=D, noise=NOISE):
    """x, y of a mixture, and components at a distance from those that made the labels."""
    rng = np.random.default_rng(seed)
    x, components = rng.normal(size=(n, d)), rng.normal(size=(K, d))
    y = np.sum(x * components[rng.choice(K, n, p=WEIGHTS)], axis=1) + noise * rng.normal(size=n)
    return x, y, jnp.asarray(components + 0.5 * rng.normal(size=(K, d)))


def prompt_of(name, seed, used=None, **options):
    """A prompt with a start for a solver."""
    x, y, components = arrays(seed, **options)
    return Prompt.of(x, y, used=used, start=start_of(name, components))


@cache
def run(name):
    """prompt -> iterates of a solver, compiled once."""
    return jax.jit(lambda prompt: unroll(SOLVERS[name][0], prompt, STEPS))


@jax.jit
def run_em(weights, noise, prompt):
    """Iterates of EM with these weights and this noise."""
    return unroll(expectation_maximisation(weights, noise), prompt, STEPS)


@jax.jit
def run_symmetric_em(weight, noise, prompt):
    """The same for b and -b."""
    return unroll(symmetric_em(weight, noise), prompt, STEPS)


@cache
def costs(name):
    """(iterates, prompt) -> objectives, compiled once."""
    return jax.jit(jax.vmap(SOLVERS[name][1], in_axes=(0, None)))


def assert_close(ours, theirs, **tolerance):
    """Equal trees."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


@given(seed=st.integers(0, 1000), n_used=st.integers(0, N))
def test_responsibilities_are_posterior_probabilities(seed, n_used):
    """gamma_ik = pi_k N(y_i; <x_i, b_k>, sigma^2) over its sum over k, by SciPy; unused examples have zeros."""
    used = np.random.default_rng(seed).permutation(N) < n_used
    prompt = prompt_of("exact", seed, used)
    got = np.asarray(RESPONSIBILITIES(prompt.start, prompt))
    joint = stats.norm.logpdf(np.asarray(prompt.y)[:, None], prompt.x @ prompt.start.T, NOISE) + np.log(WEIGHTS)
    joint = np.exp(joint - joint.max(axis=1, keepdims=True))
    np.testing.assert_allclose(got[used], (joint / joint.sum(axis=1, keepdims=True))[used], rtol=1e-10, atol=1e-15)
    assert np.all(got[~used] == 0.0)


RESPONSIBILITIES = jax.jit(lambda components, prompt: responsibilities(components, prompt, WEIGHTS, NOISE))


@EVERY_SOLVER
@given(seed=st.integers(0, 1000))
def test_no_step_lowers_the_likelihood(name, seed):
    """The objective never rises; the step size of gradient EM is below 2 / |X'X / n| here."""
    prompt = prompt_of(name, seed)
    if "gradient" in name:
        assert np.linalg.norm(prompt.x.T @ prompt.x / N, 2) < 2.0 / 0.3
    values = np.asarray(costs(name)(run(name)(prompt), prompt))
    assert np.all(np.diff(values) <= 1e-13)
    assert values[-1] < values[0] - 1e-3


def test_a_step_is_weighted_least_squares():
    """b_k is scikit-learn's regression with the weights gamma_k."""
    prompt = prompt_of("exact", 0)
    shares = np.asarray(RESPONSIBILITIES(prompt.start, prompt))
    for k in range(K):
        model = LinearRegression(fit_intercept=False).fit(prompt.x, prompt.y, sample_weight=shares[:, k])
        np.testing.assert_allclose(run("exact")(prompt)[1, k], model.coef_, atol=1e-12)


def test_one_component_is_least_squares():
    """K = 1, and the symmetric pair with pi = 1, are least squares after one step."""
    x, y, components = arrays(3)
    expected = np.linalg.lstsq(x, y, rcond=None)[0]
    one = run_em(jnp.ones(1), NOISE, Prompt.of(x, y, start=components[:1]))
    np.testing.assert_allclose(one[1, 0], expected, atol=1e-12)
    pair = run_symmetric_em(1.0, NOISE, Prompt.of(x, y, start=components[0]))
    np.testing.assert_allclose(pair[1], expected, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_gradient_em_of_many_inner_steps_is_em(name):
    """With 400 inner steps the two agree to 1e-12 at every step."""
    many = {"exact": gradient_em(WEIGHTS, NOISE, 0.7, 400), "symmetric": symmetric_gradient_em(WEIGHT, NOISE, 0.7, 400)}
    both_of = jax.jit(lambda prompt: [unroll(solver, prompt, STEPS) for solver in (many[name], EXACT[name])])
    np.testing.assert_allclose(*both_of(prompt_of(name, 4, n=400)), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_a_step_goes_to_the_nearest_minimiser(name):
    """With fewer examples than features a step stays in the span of the inputs, and gradient EM tends to it too."""
    many = {"exact": gradient_em(WEIGHTS, NOISE, 0.7, 3000), "symmetric": symmetric_gradient_em(WEIGHT, NOISE, 0.2, 3000)}
    # all examples belong about as well to every component, so that the limit is soon reached
    x, y, _ = arrays(5, n=2, d=5)
    prompt = Prompt.of(x, 0.1 * y, start=start_of(name, 0.1 * jnp.asarray(np.random.default_rng(6).normal(size=(K, 5)))))
    both_of = jax.jit(lambda prompt: [unroll(solver, prompt, 1, keep="last") for solver in (EXACT[name], many[name])])
    step, limit = map(np.asarray, both_of(prompt))
    outside = np.eye(5) - np.linalg.pinv(x) @ x
    np.testing.assert_allclose((step - prompt.start) @ outside, 0.0, atol=1e-14)
    np.testing.assert_allclose(limit, step, atol=1e-12)


@EVERY_SOLVER
def test_without_examples_the_start_stays(name):
    """n = 0, in no rows or in unused rows."""
    prompt = prompt_of(name, 0)
    for empty in (prompt._replace(x=prompt.x[:0], y=prompt.y[:0], used=prompt.used[:0]), prompt_of(name, 0, np.zeros(N, bool))):
        assert_close(jax.tree.map(lambda leaf: leaf[-1], run(name)(empty)), empty.start, rtol=0.0)


@EVERY_SOLVER
def test_unused_rows_change_nothing(name):
    """Iterates from n rows, some used, are those from the used rows alone."""
    used = np.random.default_rng(7).permutation(N) < 25
    prompt = prompt_of(name, 7, used)
    alone = Prompt.of(prompt.x[used], prompt.y[used], start=prompt.start)
    assert_close(run(name)(prompt), run(name)(alone), atol=1e-12)


@EVERY_SOLVER
@given(seed=st.integers(0, 1000))
def test_rotations_commute_with_every_step(name, seed):
    """Inputs x Q' and a start b Q' give iterates b Q'."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))

    def turned(tree):
        return tree._replace(components=tree.components @ q.T) if isinstance(tree, Mixture) else tree @ q.T

    prompt = prompt_of(name, seed)
    rotated = prompt._replace(x=prompt.x @ q.T, start=turned(prompt.start))
    assert_close(run(name)(rotated), turned(run(name)(prompt)), atol=1e-9)


@pytest.mark.parametrize("maker", [expectation_maximisation, lambda w, s: gradient_em(w, s, 0.3, 2)])
def test_the_order_of_components_does_not_matter(maker):
    """Components and weights in another order give the same components in that order."""
    order = jnp.array([2, 0, 1])
    prompt = prompt_of("exact", 8)
    compiled = jax.jit(lambda weights, prompt: unroll(maker(weights, NOISE), prompt, STEPS))
    ours = compiled(WEIGHTS[order], prompt._replace(start=prompt.start[order]))
    np.testing.assert_allclose(ours, np.asarray(compiled(WEIGHTS, prompt))[:, order], atol=1e-12)


@pytest.mark.parametrize("scale", [0.01, 30.0])
def test_units_do_not_matter(scale):
    """Labels, noise and start times c give iterates times c."""
    prompt = prompt_of("exact", 9)
    ours = run_em(WEIGHTS, scale * NOISE, prompt._replace(y=scale * prompt.y, start=scale * prompt.start))
    np.testing.assert_allclose(ours[:6], scale * run("exact")(prompt)[:6], rtol=1e-9)


def test_the_sign_is_the_difference_of_responsibilities():
    """E s = gamma_1 - gamma_2 of the components b and -b."""
    prompt = prompt_of("symmetric", 10, np.arange(N) < 30)

    @jax.jit
    def run(prompt):
        shares = responsibilities(both(prompt.start), prompt, jnp.array([WEIGHT, 1 - WEIGHT]), NOISE)
        return shares, expected_signs(prompt.start, prompt, WEIGHT, NOISE)

    shares, signs = run(prompt)
    np.testing.assert_allclose(signs, shares[:, 0] - shares[:, 1], atol=1e-14)


@given(seed=st.integers(0, 1000))
def test_tying_components_averages_their_steps(seed):
    """X'X b+ = G_1 b_1 - G_2 b_2 for the free steps b_1, b_2 from (b, -b), G_k = X' diag(gamma_k) X, G_1 + G_2 = X'X."""
    prompt = prompt_of("symmetric", seed)
    tied, free, shares = TIED_AND_FREE(prompt)
    grams = [prompt.x.T @ (shares[:, k, None] * prompt.x) for k in range(2)]
    np.testing.assert_allclose(grams[0] @ free[0] - grams[1] @ free[1], prompt.x.T @ prompt.x @ tied, rtol=0.0, atol=1e-9)


@jax.jit
def TIED_AND_FREE(prompt):
    """One step of symmetric EM, one of the two components b and -b let free, and the responsibilities."""
    weights = jnp.array([WEIGHT, 1.0 - WEIGHT])
    open_prompt = prompt._replace(start=both(prompt.start))
    free = unroll(expectation_maximisation(weights, NOISE), open_prompt, 1, keep="last")
    shares = responsibilities(open_prompt.start, prompt, weights, NOISE)
    return unroll(SOLVERS["symmetric"][0], prompt, 1, keep="last"), free, shares


def test_symmetric_em_is_em_on_examples_with_both_signs():
    """For pi = 1/2: EM with free components on (x, y) and (x, -y) stays at (b, -b), with the b of symmetric EM."""
    prompt = prompt_of("symmetric", 11)
    doubled = Prompt.of(np.tile(prompt.x, (2, 1)), np.concatenate([prompt.y, -prompt.y]), start=both(prompt.start))
    free = run_em(jnp.array([0.5, 0.5]), NOISE, doubled)
    tied = np.asarray(run_symmetric_em(0.5, NOISE, prompt))
    np.testing.assert_allclose(free, np.stack([tied, -tied], axis=1), atol=1e-12)


def test_the_other_name_of_the_symmetric_pair():
    """(b, pi) and (-b, 1 - pi) are one mixture, and the steps from them are one."""
    prompt = prompt_of("symmetric", 12)
    other = run_symmetric_em(1.0 - WEIGHT, NOISE, prompt._replace(start=-prompt.start))
    np.testing.assert_allclose(other, -run("symmetric")(prompt), atol=1e-12)


def test_zero_is_a_fixed_point_of_the_balanced_pair():
    """For pi = 1/2 EM stays at b = 0, which is why it has no start of its own."""
    prompt = prompt_of("symmetric", 13)._replace(start=jnp.zeros(D))
    assert np.all(np.asarray(run_symmetric_em(0.5, NOISE, prompt)) == 0.0)
    assert np.all(np.asarray(run("symmetric")(prompt))[1] != 0.0)


@pytest.mark.parametrize("name", EXACT)
def test_without_noise_the_truth_is_a_fixed_point(name):
    """Exact labels and a small sigma: the truth stays, and EM from near it comes back to it."""
    rng = np.random.default_rng(14)
    x, truth = rng.normal(size=(N, D)), rng.normal(size=(K, D))
    truth = truth if name == "exact" else np.stack([truth[0], -truth[0]])
    y = np.sum(x * truth[rng.integers(0, len(truth), N)], axis=1)
    solver = {"exact": expectation_maximisation(WEIGHTS, 1e-3), "symmetric": symmetric_em(WEIGHT, 1e-3)}[name]
    truth, compiled = truth if name == "exact" else truth[0], jax.jit(lambda prompt: unroll(solver, prompt, 30))
    stays = compiled(Prompt.of(x, y, start=jnp.asarray(truth)))[:6]
    np.testing.assert_allclose(stays, np.broadcast_to(truth, stays.shape), atol=1e-9)
    near = Prompt.of(x, y, start=jnp.asarray(truth + 0.02 * rng.normal(size=truth.shape)))
    np.testing.assert_allclose(compiled(near)[-1], truth, atol=1e-9)


@pytest.mark.parametrize("name", ["exact", "gradient", "symmetric", "symmetric-gradient"])
def test_the_residual_is_the_gradient_of_the_likelihood(name):
    """Fisher's identity: sigma^2 times what jax.grad gives; where EM ends it is zero, and gradient EM stays."""
    solver, objective = SOLVERS[name]

    @jax.jit
    def run(prompt):
        last = unroll(EXACT["symmetric" if "symmetric" in name else "exact"], prompt, 2000, keep="last")
        residuals = jax.vmap(solver.residual, in_axes=(0, None))(jnp.stack([prompt.start, last]), prompt)
        return residuals, jax.grad(objective)(prompt.start, prompt), last, solver.step(last, prompt, None)

    (residual, at_last), gradient, last, after = run(prompt_of(name, 15))
    np.testing.assert_allclose(residual, NOISE**2 * gradient, atol=1e-13)
    np.testing.assert_allclose(at_last, 0.0, atol=1e-12)
    np.testing.assert_allclose(after, last, atol=1e-11)


def test_annealing_is_em_at_a_falling_noise():
    """Every step is EM's at the noise of its own, which falls by equal factors, to the end's; from that noise on it is EM."""
    prompt, first, cooling = prompt_of("exact", 3), 4.0, 5
    found = jax.jit(lambda prompt: unroll(annealed_em(WEIGHTS, NOISE, first, cooling), prompt, STEPS))(prompt)
    for t in range(STEPS):
        noise = first * (NOISE / first) ** (min(t, cooling) / cooling)
        step = run_em(WEIGHTS, jnp.asarray(noise), prompt._replace(start=found[t]))[1]
        np.testing.assert_allclose(found[t + 1], step, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(unroll(annealed_em(WEIGHTS, NOISE, NOISE, 1), prompt, STEPS), run("exact")(prompt), atol=1e-12)


def test_annealing_needs_no_good_start():
    """Two components, 32 features, 128 clean examples: of thirty random starts most lead annealed EM to the truth, none EM."""
    rng, noise, d, starts, weights = np.random.default_rng(0), 0.1, 32, 30, jnp.full(2, 0.5)
    x, truth = rng.normal(size=(128, d)), np.eye(d)[:2]
    prompt = Prompt.of(x, np.sum(x * truth[rng.choice(2, 128)], axis=1) + noise * rng.normal(size=128))

    def found(solver):
        def ends(start):
            return unroll(solver, prompt._replace(start=start), 40, keep="last")

        components = jax.jit(lambda starts: jax.lax.map(ends, starts))(
            jax.random.normal(jax.random.key(0), (starts, 2, d)) / d**0.5
        )
        either = [np.abs(np.asarray(components) - named).max(axis=(1, 2)) for named in (truth, truth[::-1])]
        return int((np.minimum(*either) < 0.1).sum())

    assert found(annealed_em(weights, noise, 1.0, 20)) > starts // 2
    assert found(expectation_maximisation(weights, noise)) == 0


def test_estimating_em_is_that_of_scikit_learn():
    """Where the one input is 1, it is EM for Gaussians of one common variance: scikit-learn's, step by step."""
    rng = np.random.default_rng(17)
    y = np.concatenate([rng.normal(-1.0, 0.6, 30), rng.normal(2.0, 0.6, 50)])
    start = Mixture(jnp.array([[-0.5], [1.0]]), jnp.array([0.5, 0.5]), jnp.array(1.0))
    ours = jax.jit(lambda prompt: unroll(estimating_em(1e-3), prompt, 4))(Prompt.of(np.ones((80, 1)), y, start=start))
    theirs = GaussianMixture(
        2, covariance_type="tied", max_iter=1, warm_start=True, reg_covar=0.0, tol=1e-30,
        means_init=start.components, weights_init=start.weights, precisions_init=np.ones((1, 1)),
    )  # fmt: skip
    for t in range(1, 5):
        with pytest.warns(UserWarning, match="converge"):
            theirs.fit(y[:, None])
        np.testing.assert_allclose(ours.components[t], theirs.means_, atol=1e-12)
        np.testing.assert_allclose(ours.weights[t], theirs.weights_, atol=1e-12)
        np.testing.assert_allclose(ours.noise[t] ** 2, theirs.covariances_[0, 0], atol=1e-12)


def test_noise_has_a_floor():
    """Labels without noise drive sigma to its floor and no lower; weights stay probabilities."""
    prompt = prompt_of("estimating", 18, noise=0.0)
    path = jax.jit(lambda prompt: unroll(estimating_em(FLOOR), prompt, 60))(prompt)
    assert np.all(np.asarray(path.noise) >= FLOOR)
    np.testing.assert_allclose(path.noise[-1], FLOOR, rtol=1e-12)
    np.testing.assert_allclose(path.weights.sum(axis=1), 1.0, rtol=1e-12)


def test_many_prompts_at_once():
    """vmap over prompts is a loop over them."""
    prompts = [prompt_of("exact", seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *prompts)
    together = jax.jit(jax.vmap(lambda prompt: unroll(SOLVERS["exact"][0], prompt, STEPS)))(stacked)
    for own, prompt in zip(together, prompts, strict=True):
        np.testing.assert_allclose(own, run("exact")(prompt), atol=1e-11)


# starts


@pytest.mark.parametrize("weight", [0.2, 0.9])
def test_the_spectral_start_tends_to_b(weight):
    """Its error falls as 1 / sqrt(n), signs included, and it is zero without examples."""
    rng = np.random.default_rng(19)
    b, errors = np.array([0.8, 0.0, -0.6]), []
    for n in (2_000, 200_000):
        x = rng.normal(size=(n, D))
        y = np.where(rng.random(n) < weight, 1.0, -1.0) * (x @ b) + 0.3 * rng.normal(size=n)
        errors.append(np.linalg.norm(SPECTRAL_START(Prompt.of(x, y), weight).start - b))
    assert errors[0] < 0.15
    assert errors[1] < 0.03
    empty = Prompt.of(np.zeros((0, D)), np.zeros(0))
    assert np.all(np.asarray(SPECTRAL_START(empty, weight).start) == 0.0)


SPECTRAL_START = jax.jit(symmetric_spectral_start)


def test_the_spectral_start_is_numpys():
    """+-sqrt((l_1 - mean of the others) / 2) v for the first eigenpair of 1/n sum y^2 x x'."""
    prompt = prompt_of("symmetric", 20)
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    values, vectors = np.linalg.eigh((x * y[:, None] ** 2).T @ x / N)
    expected = np.sqrt(0.5 * (values[-1] - values[:-1].mean())) * vectors[:, -1]
    expected *= np.sign(0.4 * expected @ (x.T @ y))
    np.testing.assert_allclose(SPECTRAL_START(prompt, WEIGHT).start, expected, atol=1e-12)


def test_the_spectral_subspace_holds_the_components():
    """Draws have one norm, near the root mean square of |b_k|, and lie near the span of the components."""
    rng = np.random.default_rng(21)
    truth = rng.normal(size=(2, 6))
    x = rng.normal(size=(100_000, 6))
    y = np.sum(x * truth[rng.integers(0, 2, 100_000)], axis=1)
    drawn = np.asarray(jax.jit(in_spectral_subspace(2))(jax.random.key(0), Prompt.of(x, y)))
    outside = drawn @ (np.eye(6) - np.linalg.pinv(truth) @ truth)
    norms = np.linalg.norm(drawn, axis=1)
    np.testing.assert_allclose(norms, np.sqrt(np.mean(np.sum(truth**2, axis=1))), rtol=0.05)
    assert np.all(np.linalg.norm(outside, axis=1) < 0.05 * norms)


def test_the_best_start_leads_to_the_least_objective():
    """Of the drawn starts none leads lower; the answer is the start itself."""
    prompt = prompt_of("exact", 22)
    solver, objective = SOLVERS["exact"]

    def draw(key, prompt):
        return jax.random.normal(key, (K, prompt.x.shape[1]))

    @jax.jit
    def chosen_and_drawn(key):
        starts = [draw(own, prompt) for own in jax.random.split(key, 6)]
        return best_start(solver, objective, draw, 6, STEPS)(key, prompt).start, starts

    chosen, starts = chosen_and_drawn(jax.random.key(1))
    finals = [float(costs("exact")(run("exact")(prompt._replace(start=start)), prompt)[-1]) for start in starts]
    assert np.ptp(finals) > 1e-3
    np.testing.assert_array_equal(chosen, starts[int(np.argmin(finals))])


def test_a_start_without_a_number_is_not_taken():
    """An objective that is NaN loses to any number."""
    prompt = prompt_of("symmetric", 23)
    chosen = best_start(
        SOLVERS["symmetric"][0],
        lambda b, prompt: jnp.where(b[0] > 0.0, jnp.nan, -b[0]),
        lambda key, prompt: jax.random.normal(key, (D,)),
        8,
        0,
    )(jax.random.key(2), prompt)
    assert chosen.start[0] <= 0.0


def unstarted(name):
    """A run of a solver without a start."""
    return lambda: unroll(SOLVERS[name][0], prompt_of(name, 0)._replace(start=None), 1)


REFUSED = {
    **{f"no start, {name}": (unstarted(name), ("no start", "give one")) for name in SOLVERS},
    "shape": (lambda: unroll(SOLVERS["exact"][0], prompt_of("symmetric", 0), 1), ("start has shape (3,)", "(3, 3)")),
    "symmetric shape": (lambda: unroll(SOLVERS["symmetric"][0], prompt_of("exact", 0), 1), ("start has shape (3, 3)", "(3,)")),
    "tuple": (lambda: unroll(SOLVERS["estimating"][0], prompt_of("exact", 0), 1), ("needs a Mixture",)),
    "weights": (lambda: expectation_maximisation(jnp.array([0.5, 0.6]), NOISE), ("weights sum to 1.1", "divide")),
    "weight": (lambda: symmetric_em(1.5, NOISE), ("weight is 1.5", "between 0 and 1")),
    "noise": (lambda: symmetric_em(0.5, 0.0), ("noise is 0", "greater than zero")),
    "floor": (lambda: estimating_em(0.0), ("least_noise is 0", "greater than zero")),
    "inner steps": (lambda: gradient_em(WEIGHTS, NOISE, 0.1, 0), ("inner_steps is 0", "at least one")),
    "step size": (lambda: gradient_em(WEIGHTS, NOISE, -0.1, 1), ("step_size is -0.1", "greater than zero")),
    "starts": (lambda: best_start(SOLVERS["exact"][0], loss, in_spectral_subspace(2), 0, 1), ("n_starts is 0", "at least one")),
    "subspace": (
        lambda: in_spectral_subspace(D)(jax.random.key(0), prompt_of("exact", 0)),
        ("3 features for 3 spectral directions", "one feature more"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_in_one_sentence(name, refused):
    """What was given, and what is needed."""
    refused(*REFUSED[name])
