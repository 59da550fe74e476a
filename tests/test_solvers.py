"""What every solver keeps (invariances), what each converges to and how fast (rates), and what it is in plain NumPy.

A table of solvers is crossed with properties. A row is a function of a scale c, by which labels, thresholds and the
deviations of priors and noise are multiplied together: homogeneous solvers then multiply their iterates by c.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.certified.fista import Fista
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import prompt_problem
from jaxl2o.objectives import lasso_objective, least_squares
from jaxl2o.solvers import branching, composition, first_order, in_context, lista, momentum, proximal, varying, wrappers
from jaxl2o.solvers.denoisers import bernoulli_gaussian, soft
from jaxl2o.solvers.from_optax import from_optax
from jaxl2o.solvers.greedy import omp
from jaxl2o.solvers.krylov import conjugate_gradient
from jaxl2o.solvers.linear_first_order import linear_first_order
from jaxl2o.solvers.message_passing import LampLayers, amp, lamp
from jaxl2o.solvers.orthogonal import TistaLayers, oamp, tista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt

N, D, STEPS = 9, 5, 12
KEY_MATRIX, KEY_WEIGHT, KEY_THRESHOLD, KEY_WILD = jax.random.split(jax.random.key(0), 4)
MATRIX = jax.random.normal(KEY_MATRIX, (STEPS, D, D)) / D
WEIGHT = jax.random.normal(KEY_WEIGHT, (STEPS, D, N)) / (3 * N)
THRESHOLD = jax.random.uniform(KEY_THRESHOLD, (STEPS,), maxval=0.1)
WILD = 300.0 * jax.random.normal(KEY_WILD, (STEPS, D, D)).at[::2].set(jnp.eye(D) / 300.0)
SQUARE = jnp.eye(N) + jnp.ones((N, N)) / N
MEMORY = jax.random.normal(jax.random.key(5), (STEPS, STEPS, D, D)) / (3.0 * STEPS)
DEFINITE = jnp.eye(D) + MATRIX[0] @ MATRIX[0].T
SUPPORT = jnp.array([True, False, True, False, True])


def varying_layers(scale=1.0, matrix=MATRIX):
    """LISTA-VM's layers with thresholds in the units of the labels."""
    return varying.VaryingLayers(matrix, scale * THRESHOLD)


def in_context_layers(scale):
    """In-context ALISTA's layers; the part of the threshold that follows the residual has no units."""
    return in_context.InContextLayers(1.0 - THRESHOLD, THRESHOLD, scale * THRESHOLD, THRESHOLD)


def momentum_layers(scale):
    """LISTA-VM's layers, with a memory."""
    return varying.MomentumLayers(*varying_layers(scale), momentum=THRESHOLD, following=THRESHOLD)


def on_unit_columns(solver):
    """The solver on X / 3, whose nine examples have columns of about unit length: on longer ones AMP diverges."""
    return wrappers.seen_through(solver, lambda prompt: prompt._replace(x=prompt.x / 3.0))


# solvers that serve every matrix: scale of the labels -> Solver
ANY_MATRIX = {
    "gradient-descent": lambda c: first_order.gradient_descent(0.2),
    "preconditioned": lambda c: first_order.preconditioned_gradient_descent(MATRIX[0]),
    "gd-plus-plus": lambda c: first_order.gd_plus_plus(2.0 * THRESHOLD, 0.3 * THRESHOLD),
    "heavy-ball": lambda c: momentum.heavy_ball(0.1, 0.4),
    "preconditioned-heavy-ball": lambda c: momentum.heavy_ball(0.05, 0.4, DEFINITE),
    "scheduled-momentum": lambda c: momentum.scheduled_momentum(momentum.Steps(THRESHOLD, 8.0 * THRESHOLD), MATRIX[0]),
    "nesterov": lambda c: momentum.nesterov(0.1, 8.0 * THRESHOLD),
    "chebyshev": lambda c: momentum.scheduled_momentum(momentum.chebyshev_steps(0.5, 6.0, STEPS)),
    "linear-first-order": lambda c: linear_first_order(MEMORY[..., 0, 0]),
    "linear-first-order-of-diagonals": lambda c: linear_first_order(MEMORY[..., 0]),
    "linear-first-order-of-matrices": lambda c: linear_first_order(MEMORY),
    "conjugate-gradient": lambda c: conjugate_gradient(),
    "preconditioned-conjugate-gradient": lambda c: conjugate_gradient(DEFINITE),
    "optax-sgd": lambda c: from_optax(optax.sgd(0.1, momentum=0.4), least_squares),
    "ista": lambda c: proximal.ista(0.1 * c),
    "ista-of-given-step": lambda c: proximal.ista(0.1 * c, 0.2),
    "fista": lambda c: proximal.fista(0.1 * c),
    "fista-with-restart": lambda c: proximal.fista(0.1 * c, proximal.against_gradient),
    "step-lista": lambda c: lista.step_lista(THRESHOLD, 0.1 * c),
    "lista-vm": lambda c: varying.lista_vm(varying_layers(c)),
    "lista-vm-known-support": lambda c: varying.lista_vm(varying.known_support(varying_layers(c), SUPPORT)),
    "lista-vm-with-momentum": lambda c: varying.lista_vm_with_momentum(momentum_layers(c)),
    "in-context-alista": lambda c: in_context.in_context_alista(in_context_layers(c)),
    "branched": lambda c: branching.branched(
        lambda free: in_context.in_context_alista(in_context_layers(c), free=free), branching.none_or_one(D)
    ),
    "halted": lambda c: wrappers.halted(in_context.in_context_alista(in_context_layers(c)), 0.3),
    "safeguarded": lambda c: wrappers.safeguarded(varying.lista_vm(varying_layers(c, WILD))),
    "amp-soft": lambda c: on_unit_columns(amp(soft(1.1))),
    "amp": lambda c: on_unit_columns(amp(bernoulli_gaussian(0.3, c**2))),
    "tista": lambda c: tista(TistaLayers(0.5 + 10.0 * THRESHOLD), bernoulli_gaussian(0.3, c**2), c**2),
    "oamp": lambda c: oamp(bernoulli_gaussian(0.3, c**2), c**2),
    "omp": lambda c: omp(),
    "block-ista": lambda c: proximal.block_ista(0.1 * c, jnp.array([2, 0, 0, 1, 2])),
}

# and those of one matrix
SOLVERS = ANY_MATRIX | {
    "lista": lambda c: lista.lista(lista.FreeLayers(WEIGHT[0], MATRIX, c * THRESHOLD)),
    "lista-cp": lambda c: lista.lista_cp(lista.CouplingLayers(WEIGHT, c * THRESHOLD)),
    "lista-cpss": lambda c: lista.lista_cp(lista.CouplingLayers(WEIGHT, c * THRESHOLD), composition.growing(1, 4, STEPS)),
    "alista": lambda c: lista.alista(WEIGHT[0], lista.StepLayers(THRESHOLD, c * THRESHOLD)),
    "ada-lista": lambda c: varying.ada_lista(varying.AdaLayers(SQUARE, SQUARE, THRESHOLD, c * THRESHOLD)),
    "lamp": lambda c: lamp(LampLayers(WEIGHT, THRESHOLD)),
}

MEMORYLESS = ("gradient-descent", "preconditioned", "ista")
# those that treat all directions alike
ISOTROPIC = (
    "gradient-descent",
    "gd-plus-plus",
    "heavy-ball",
    "nesterov",
    "chebyshev",
    "linear-first-order",
    "conjugate-gradient",
    "optax-sgd",
)
# those that treat all coordinates, and both signs, alike
SYMMETRIC = ("ista", "fista", "amp-soft", "amp", "tista", "oamp", "omp", "block-ista")


def draw(seed, n=N, d=D):
    """A prompt with Gaussian examples and labels."""
    key_x, key_y = jax.random.split(jax.random.key(seed))
    return Prompt.of(jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n,)))


PROMPT = draw(1)


@cache
def compiled(name):
    """(scale, prompt) -> the iterates after 0..T steps."""
    return jax.jit(lambda scale, prompt: unroll(SOLVERS[name](scale), prompt, STEPS))


def iterates(name, prompt=PROMPT, scale=1.0):
    """The iterates of a solver of the table after 0..T steps."""
    return np.asarray(compiled(name)(scale, prompt))


def padded(prompt, before, after):
    """The same prompt with unused rows of zeros before and after its examples."""
    rows = ((before, after), (0, 0))
    used = jnp.pad(prompt.used, (before, after))
    return Prompt(jnp.pad(prompt.x, rows), jnp.pad(prompt.y, (before, after)), None, used)


@pytest.mark.parametrize("name", ANY_MATRIX)
@given(order=st.permutations(range(N)))
def test_the_order_of_examples_does_not_matter(name, order):
    """Iterates of (P X, P y) are those of (X, y) for every permutation P."""
    order = jnp.asarray(order)
    shuffled = PROMPT._replace(x=PROMPT.x[order], y=PROMPT.y[order])
    np.testing.assert_allclose(iterates(name, shuffled), iterates(name), atol=1e-12)


@pytest.mark.parametrize("name", ANY_MATRIX)
def test_unused_rows_change_nothing(name):
    """Padding a prompt with unused rows leaves its iterates as they are."""
    short = draw(2, n=N - 3)
    expected = jax.jit(lambda prompt: unroll(SOLVERS[name](1.0), prompt, STEPS))(short)
    assert np.max(np.abs(expected)) > 0.1
    np.testing.assert_allclose(iterates(name, padded(short, 1, 2)), expected, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_unused_examples_are_zero(name):
    """No used example: every iterate is zero, whatever the rows were."""
    nothing = Prompt.of(PROMPT.x, PROMPT.y, used=np.zeros(N, dtype=bool))
    assert np.all(iterates(name, nothing) == 0.0)


@pytest.mark.parametrize("name", ANY_MATRIX)
def test_no_examples_are_zero(name):
    """n = 0: every iterate is zero."""
    nothing = Prompt.of(np.zeros((0, D)), np.zeros(0))
    assert np.all(np.asarray(jax.jit(lambda: unroll(SOLVERS[name](1.0), nothing, 2))()) == 0.0)


@pytest.mark.parametrize("name", SOLVERS)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**31 - 1))
def test_scale_equivariance(name, scale, seed):
    """Iterates of (X, c y) with thresholds c theta are c times those of (X, y) with theta, for c > 0."""
    prompt = draw(seed)
    scaled = iterates(name, prompt._replace(y=scale * prompt.y), scale)
    plain = iterates(name, prompt)
    np.testing.assert_allclose(scaled / scale, plain, rtol=1e-9, atol=1e-11 * (1.0 + np.max(np.abs(plain))))


@pytest.mark.parametrize("name", SOLVERS)
def test_the_first_iterate_is_the_start(name):
    """w_0 is the start that the prompt brings, and zero without one."""
    start = jnp.arange(1.0, D + 1.0)
    solver = SOLVERS[name](1.0)
    first = jax.jit(lambda prompt: solver.iterate(solver.init(prompt)))
    assert np.all(np.asarray(first(PROMPT)) == 0.0)
    assert np.all(np.asarray(first(PROMPT._replace(start=start))) == start)


@pytest.mark.parametrize("name", MEMORYLESS)
def test_steps_compose(name):
    """T steps from w_k are steps k..k+T, for solvers without memory."""
    path = iterates(name)
    again = iterates(name, PROMPT._replace(start=jnp.asarray(path[4])))
    np.testing.assert_allclose(again[: STEPS - 3], path[4:], atol=1e-13)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_shared_matrix_is_a_carried_one(name):
    """with_matrix(solver, X) on prompts without x is the solver on prompts that carry X; so is its residual."""
    solver = SOLVERS[name](1.0)
    shared = wrappers.with_matrix(solver, PROMPT.x)
    bare = PROMPT._replace(x=None)
    np.testing.assert_allclose(jax.jit(lambda p: unroll(shared, p, STEPS))(bare), iterates(name), atol=1e-13)
    assert (shared.residual is None) == (solver.residual is None)
    if solver.residual is not None:
        point = jnp.ones(D)
        np.testing.assert_allclose(shared.residual(point, bare), solver.residual(point, PROMPT), atol=1e-14)


def orthogonal(seed):
    """A random orthogonal matrix (D, D)."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(D, D)))[0]


@pytest.mark.parametrize("name", ISOTROPIC)
@given(seed=st.integers(0, 2**31 - 1))
def test_rotations(name, seed):
    """x -> Q x turns every iterate w -> Q w."""
    q = orthogonal(seed)
    turned = iterates(name, PROMPT._replace(x=PROMPT.x @ q.T))
    np.testing.assert_allclose(turned, iterates(name) @ q.T, atol=1e-12)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=D, max_size=D), order=st.permutations(range(D)))
def test_signed_permutations_of_coordinates(name, signs, order):
    """x -> G x turns w -> G w for every signed permutation G; one that keeps the blocks, for block ISTA."""
    signs, order = np.asarray(signs), np.arange(D) if name == "block-ista" else np.asarray(order)
    turned = iterates(name, PROMPT._replace(x=PROMPT.x[:, order] * signs[None, :]))
    np.testing.assert_allclose(turned, iterates(name)[:, order] * signs, atol=1e-12)


@pytest.mark.parametrize("fraction", [0.5, 1.0, 1.9])
def test_gradient_descent_closed_form(fraction):
    """w_k = w_LS + (I - s H)^k (w_0 - w_LS) with H = X'X / n, and R(w_k) decreases for s < 2 / L."""
    x, y, start = np.asarray(PROMPT.x), np.asarray(PROMPT.y), np.arange(1.0, D + 1.0)
    hessian = x.T @ x / N
    step_size = fraction / np.linalg.eigvalsh(hessian)[-1]
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    power = [np.linalg.matrix_power(np.eye(D) - step_size * hessian, k) for k in range(31)]
    path = unroll(first_order.gradient_descent(step_size), PROMPT._replace(start=jnp.asarray(start)), 30)
    np.testing.assert_allclose(path, [best + p @ (start - best) for p in power], atol=1e-12)
    risk = np.sum((np.asarray(path) @ x.T - y) ** 2, axis=1) / (2 * N)
    assert np.all(np.diff(risk) <= 1e-15)


def test_a_scalar_preconditioner_is_a_step_size():
    """Preconditioned gradient descent with P = s I is gradient descent with step size s."""
    path = unroll(first_order.preconditioned_gradient_descent(0.2 * jnp.eye(D)), PROMPT, STEPS)
    np.testing.assert_allclose(path, iterates("gradient-descent"), atol=1e-14)


def test_newtons_preconditioner_needs_one_step():
    """P = (X'X / n)^-1 gives the least-squares answer after one step."""
    x, y = np.asarray(PROMPT.x), np.asarray(PROMPT.y)
    path = unroll(first_order.preconditioned_gradient_descent(jnp.asarray(np.linalg.inv(x.T @ x / N))), PROMPT, 1)
    np.testing.assert_allclose(path[1], np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-12)


@given(
    u=st.lists(st.floats(-10, 10), min_size=D, max_size=D),
    v=st.lists(st.floats(-10, 10), min_size=D, max_size=D),
    threshold=st.floats(0, 5),
)
def test_soft_threshold_is_the_proximal_map(u, v, threshold):
    """p = S(u) is the minimiser of 1/2 |p - u|^2 + theta |p|_1: u - p is in theta d|p|_1. And S is nonexpansive."""
    u, v = np.asarray(u), np.asarray(v)
    p = np.asarray(proximal.soft_threshold(jnp.asarray(u), threshold))
    assert np.all(np.abs(u - p) <= threshold + 1e-14)
    np.testing.assert_allclose((u - p)[p != 0.0], threshold * np.sign(p)[p != 0.0], atol=1e-14)
    q = np.asarray(proximal.soft_threshold(jnp.asarray(v), threshold))
    assert np.linalg.norm(p - q) <= np.linalg.norm(u - v) + 1e-14


@pytest.mark.parametrize(("n", "d"), [(12, 4), (4, 12)])
def test_smoothness_is_the_largest_eigenvalue(n, d):
    """L = |X|_2^2 / n, over the used examples alone."""
    prompt = draw(3, n, d)
    expected = np.linalg.norm(np.asarray(prompt.x), ord=2) ** 2 / n
    np.testing.assert_allclose(proximal.smoothness(prompt), expected, rtol=1e-13)
    np.testing.assert_allclose(proximal.smoothness(padded(prompt, 2, 3)), expected, rtol=1e-13)


# algorithm -> (solver of a penalty, its bound on F(w_k) - F(z) in units of L |w_0 - z|^2)
RATES = {
    "ista": (proximal.ista, lambda k: 1.0 / (2.0 * k)),
    "fista": (proximal.fista, lambda k: 2.0 / (k + 1.0) ** 2),
}


@cache
def hard_problems(n, d=20):
    """A thousand Lasso problems with correlated columns and noise; penalties are 0.01 to 1 times the largest; their answers."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=(1000, n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(1000, d, d)))
    w = np.where(np.arange(d) < 3, rng.normal(size=(1000, d)), 0.0)
    y = np.einsum("bnd,bd->bn", x, w) + 0.1 * rng.normal(size=(1000, n))
    prompts = jax.vmap(Prompt.of)(x, y)
    penalties = jax.vmap(proximal.penalty_max)(prompts) * 10.0 ** rng.uniform(-2.0, 0.0, size=1000)

    def solve(prompt, penalty):
        return certified(prompt_problem(prompt, penalty), Fista(), None, 1e-6, 3000)

    answers = jax.jit(jax.vmap(solve))(prompts, penalties)
    return prompts, penalties, answers, np.sum(y**2, axis=1) / 2.0


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("name", RATES)
def test_rate(name, n):
    """F(w_k) - F* is within the published bound for k = 1..100, on a thousand problems.

    The proofs hold against any z in place of the minimiser, so an approximate z needs no slack but for rounding.
    """
    solver, bound = RATES[name]
    prompts, penalties, answers, at_zero = hard_problems(n)
    assert np.all(np.asarray(answers.gap) <= 1e-6 * at_zero)

    @jax.jit
    @jax.vmap
    def values(prompt, penalty, z):
        path = unroll(solver(penalty), prompt, 100)
        objective = jax.vmap(lambda w: lasso_objective(w, prompt, penalty))(path)
        return objective - lasso_objective(z, prompt, penalty), proximal.smoothness(prompt) * z @ z

    excess, unit = values(prompts, penalties, answers.solution)
    k = np.arange(1, 101)
    allowed = np.asarray(unit)[:, None] * bound(k) + 1e-12 * at_zero[:, None]
    assert np.all(np.asarray(excess)[:, 1:] <= allowed)


def test_ista_decreases():
    """F(w_k) never increases along ISTA."""
    path = unroll(proximal.ista(0.05), PROMPT, 60)
    values = jax.vmap(lambda w: lasso_objective(w, PROMPT, 0.05))(path)
    assert np.all(np.diff(values) <= 1e-15)


def test_restart_is_faster():
    """On an ill-conditioned problem restart brings FISTA a thousand times closer to the optimum in as many steps."""
    x = np.random.default_rng(0).normal(size=(30, 10)) * np.logspace(0, -1.5, 10)
    prompt, penalty = Prompt.of(x, x @ np.ones(10)), 1e-5
    best, restarted, plain = [
        lasso_objective(unroll(proximal.fista(penalty, restart), prompt, n_steps, keep="last"), prompt, penalty)
        for restart, n_steps in ((proximal.against_gradient, 5000), (proximal.against_gradient, 400), (proximal.never, 400))
    ]
    assert restarted - best < 1e-3 * (plain - best)


@pytest.mark.parametrize(
    "name", ["gradient-descent", "preconditioned", "heavy-ball", "conjugate-gradient", "optax-sgd", "ista", "fista"]
)
def test_residual_is_zero_at_the_answer_alone(name):
    """The residual vanishes at the minimiser, which is a fixed point of the step, and not elsewhere."""
    solver = SOLVERS[name](1.0)
    penalty = 0.1 if "ista" in name else 0.0
    best = (
        jax.jit(lambda: certified(prompt_problem(PROMPT, penalty), tolerance=1e-15).solution)()
        if penalty
        else jnp.asarray(np.linalg.lstsq(np.asarray(PROMPT.x), np.asarray(PROMPT.y), rcond=None)[0])
    )
    at_best = PROMPT._replace(start=best)
    np.testing.assert_allclose(solver.residual(best, PROMPT), 0.0, atol=1e-7)
    np.testing.assert_allclose(unroll(solver, at_best, 1, keep="last"), best, atol=1e-7)
    assert np.linalg.norm(solver.residual(best + 0.1, PROMPT)) > 1e-2


def numpy_shrink(u, threshold):
    """The soft threshold, written as a projection onto the box: u - clip(u)."""
    return u - np.clip(u, -threshold, threshold)


@given(seed=st.integers(0, 2**31 - 1), n_used=st.integers(0, N))
def test_lista_vm_in_numpy(seed, n_used):
    """w <- S(w - M_t X'(X w - y) / (2k + 1)) for k used examples, as a loop."""
    drawn = draw(seed)
    prompt = Prompt.of(drawn.x, drawn.y, used=np.arange(N) < n_used)
    x, y, w, path = np.asarray(drawn.x)[:n_used], np.asarray(drawn.y)[:n_used], np.zeros(D), [np.zeros(D)]
    for matrix, threshold in zip(np.asarray(MATRIX), np.asarray(THRESHOLD), strict=True):
        w = numpy_shrink(w - matrix @ (x.T @ (x @ w - y)) / (2 * n_used + 1), threshold)
        path.append(w)
    np.testing.assert_allclose(iterates("lista-vm", prompt), path, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("restarted", [False, True])
@given(seed=st.integers(0, 2**31 - 1))
def test_fista_in_numpy(restarted, seed):
    """A proximal step from v; t_next = (1 + sqrt(1 + 4 t^2)) / 2; v = w_next + (t - 1) / t_next (w_next - w); as a loop."""
    prompt = draw(seed)
    x, y, w, v, t, path = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(D), np.zeros(D), 1.0, [np.zeros(D)]
    size = N / np.linalg.norm(x, ord=2) ** 2
    for _ in range(STEPS):
        w_next = numpy_shrink(v - size * x.T @ (x @ v - y) / N, size * 0.1)
        t = 1.0 if restarted and (v - w_next) @ (w_next - w) > 0.0 else t
        t_next = (1.0 + np.sqrt(1.0 + 4.0 * t**2)) / 2.0
        w, v, t = w_next, w_next + (t - 1.0) / t_next * (w_next - w), t_next
        path.append(w)
    np.testing.assert_allclose(iterates("fista-with-restart" if restarted else "fista", prompt), path, rtol=1e-10, atol=1e-11)


@given(seed=st.integers(0, 2**31 - 1))
def test_ista_in_numpy(seed):
    """w <- S(w - s grad R(w)), as a loop, with s = 1 / L and with a given s."""
    prompt = draw(seed)
    x, y = np.asarray(prompt.x), np.asarray(prompt.y)
    for name, size in {"ista": N / np.linalg.norm(x, ord=2) ** 2, "ista-of-given-step": 0.2}.items():
        path = [np.zeros(D)]
        for _ in range(STEPS):
            path.append(numpy_shrink(path[-1] - size * x.T @ (x @ path[-1] - y) / N, size * 0.1))
        np.testing.assert_allclose(iterates(name, prompt), path, rtol=1e-10, atol=1e-11)


@given(seed=st.integers(0, 2**31 - 1))
def test_lista_cp_in_numpy(seed):
    """w <- S(w + W_t (y - X w)), as a loop."""
    prompt = draw(seed)
    x, y, w, path = np.asarray(prompt.x), np.asarray(prompt.y), np.zeros(D), [np.zeros(D)]
    for weight, threshold in zip(np.asarray(WEIGHT), np.asarray(THRESHOLD), strict=True):
        w = numpy_shrink(w + weight @ (y - x @ w), threshold)
        path.append(w)
    np.testing.assert_allclose(iterates("lista-cp", prompt), path, rtol=1e-11, atol=1e-12)


def test_scalar_lista_vm_is_ista():
    """LISTA-VM with M = c I and threshold s * penalty is ISTA of step size s = c n / (2n + 1)."""
    step_size = 0.2
    matrix = jnp.broadcast_to(step_size * (2 * N + 1) / N * jnp.eye(D), (STEPS, D, D))
    solver = varying.lista_vm(varying.VaryingLayers(matrix, jnp.full((STEPS,), 0.1 * step_size)))
    np.testing.assert_allclose(unroll(solver, PROMPT, STEPS), iterates("ista-of-given-step"), atol=1e-14)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (4, 12)])
def test_lista_cp_starts_as_ista(n, d):
    """LISTA-CP with the layers of ista_as_lista_cp is ISTA on that matrix."""
    prompt = draw(4, n, d)
    layers = lista.ista_as_lista_cp(prompt.x, STEPS, 0.05)
    path = unroll(lista.lista_cp(layers), prompt, STEPS)
    np.testing.assert_allclose(path, unroll(proximal.ista(0.05), prompt, STEPS), atol=1e-13)


def test_known_support_is_never_left():
    """Coordinates outside the known support stay zero, and inside the layers are as they were."""
    path = iterates("lista-vm-known-support")
    assert np.all(path[:, ~np.asarray(SUPPORT)] == 0.0)
    assert np.any(path[:, np.asarray(SUPPORT)] != 0.0)
    kept = varying.known_support(varying_layers(), SUPPORT)
    assert np.all(np.asarray(kept.matrix == MATRIX)[:, np.asarray(SUPPORT)])
    assert np.all(np.asarray(kept.threshold == THRESHOLD))


@cache
def wild_run():
    """(magnitude, prompt) -> iterates of the safeguarded LISTA-VM, and the gradient of a loss through its layers."""

    def run(magnitude, prompt):
        layers = varying_layers(matrix=MATRIX * magnitude)

        def loss(layers):
            path = unroll(wrappers.safeguarded(varying.lista_vm(layers)), prompt, STEPS)
            return jnp.sum(path**2), path

        (_, path), gradient = jax.value_and_grad(loss, has_aux=True)(layers)
        return path, gradient

    return jax.jit(run)


@given(seed=st.integers(0, 2**31 - 1), exponent=st.floats(-2.0, 200.0))
def test_safeguard_bounds_the_misfit(seed, exponent):
    """|y - X w_t| <= |y| at every step, for layers of any magnitude; values and gradients stay finite."""
    prompt = draw(seed)
    path, gradient = wild_run()(10.0**exponent, prompt)
    misfit = np.linalg.norm(np.asarray(prompt.y) - np.asarray(path) @ np.asarray(prompt.x).T, axis=1)
    assert np.all(misfit <= np.linalg.norm(prompt.y) * (1.0 + 1e-6))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((path, gradient)))


def test_safeguard_refuses_something():
    """On the wild layers of the table the bare solver explodes, and the safeguarded one takes some steps and not others."""
    assert np.max(np.abs(unroll(varying.lista_vm(varying_layers(matrix=WILD)), PROMPT, STEPS))) > 1e6
    taken = np.any(np.diff(iterates("safeguarded"), axis=0) != 0.0, axis=1)
    assert np.any(taken)
    assert not np.all(taken)


@pytest.mark.parametrize("name", ["gradient-descent", "ista", "fista"])
def test_safeguard_lets_good_steps_be(name):
    """Where no step is refused, safeguarded(solver) is the solver bit for bit."""
    solver = SOLVERS[name](1.0)
    misfit = np.linalg.norm(np.asarray(PROMPT.y) - iterates(name) @ np.asarray(PROMPT.x).T, axis=1)
    assert np.all(misfit <= np.linalg.norm(PROMPT.y))
    np.testing.assert_array_equal(unroll(wrappers.safeguarded(solver), PROMPT, STEPS), unroll(solver, PROMPT, STEPS))


@pytest.mark.parametrize("name", ["fista", "in-context-alista", "omp"])
def test_a_solver_that_sees_the_prompt_otherwise(name):
    """Its iterates are those of the solver on the prompt that it sees, and so is the residual, if there is one."""

    def view(prompt):
        return prompt._replace(x=2.0 * prompt.x, y=-prompt.y)

    plain = SOLVERS[name](1.0)
    seen = wrappers.seen_through(plain, view)
    np.testing.assert_allclose(unroll(seen, PROMPT, STEPS), iterates(name, view(PROMPT)), atol=1e-12)
    assert (seen.residual is None) == (plain.residual is None)
    if seen.residual is not None and plain.residual is not None:
        w = jnp.arange(D) / D
        np.testing.assert_allclose(seen.residual(w, PROMPT), plain.residual(w, view(PROMPT)), atol=1e-12)


def test_risk_of_the_prompt_is_what_solvers_reduce():
    """least_squares is 1/(2n) |X w - y|^2 over the used examples, and gradient descent follows its gradient."""
    x, y, w = np.asarray(PROMPT.x), np.asarray(PROMPT.y), np.arange(D) / D
    expected = np.sum((x @ w - y) ** 2) / (2 * N)
    risk, gradient = jax.value_and_grad(least_squares)(jnp.asarray(w), padded(PROMPT, 1, 2))
    np.testing.assert_allclose(risk, expected, rtol=1e-13)
    np.testing.assert_allclose(iterates("gradient-descent", PROMPT._replace(start=jnp.asarray(w)))[1], w - 0.2 * gradient)
