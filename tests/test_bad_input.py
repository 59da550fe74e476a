"""What is refused, and the one sentence that says what was given and what is needed.

Shapes in annotations are checked by the test run alone; here those checks are off, as they are for users.
"""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxl2o import checks
from jaxl2o.certified.lasso import lasso
from jaxl2o.constructions.construction import fill
from jaxl2o.limits.least_squares import ridge
from jaxl2o.models.config import TransformerConfig
from jaxl2o.models.layout import Layout
from jaxl2o.solvers import first_order, lista, proximal, varying, wrappers
from jaxl2o.solvers.implicit import Implicit, iterative_solve
from jaxl2o.solvers.unroll import Truncated, solve, unroll
from jaxl2o.tasks import covariates, images, sparse
from jaxl2o.tasks.noise import gaussian_noise
from jaxl2o.types import Prompt, Solver, design_matrix, prefixes, queries

X, Y = np.ones((4, 3)), np.ones(4)
PROMPT = Prompt.of(X, Y, X[:1])
LAYERS = varying.VaryingLayers(jnp.ones((2, 3, 3)), jnp.ones(2))
COUPLED = lista.CouplingLayers(jnp.ones((2, 3, 4)), jnp.ones(2))
LAYOUT = Layout((("x", 3), ("y", 1)))
PATCHES = jnp.ones((2, 16))
CAMERA = images.camera(PATCHES, n=5)
NO_RESIDUAL = Solver(first_order.start_at_zero, lambda w, prompt, layer: w, lambda w: w)


@pytest.fixture(autouse=True)
def _without_shape_annotations():
    """As users run the library: annotations are not checked."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# what is wrong -> (the call, the parts of the sentence: what was given, what is needed)
BAD = {
    # prompts
    "y is a matrix": (lambda: Prompt.of(X, X), ("y has shape (4, 3)", "(any,)")),
    "y is a column": (lambda: Prompt.of(X, Y[:, None]), ("y has shape (4, 1)", "(any,), so flatten it by .ravel()")),
    "x is a vector": (lambda: Prompt.of(Y, Y), ("x has shape (4,)", "(4, any)")),
    "x has other rows than y": (lambda: Prompt.of(X, Y[:2]), ("x has shape (4, 3)", "(2, any)")),
    "queries of another d": (lambda: Prompt.of(X, Y, np.ones((1, 2))), ("x_query has shape (1, 2)", "(any, 3)")),
    "used of another n": (lambda: Prompt.of(X, Y, used=np.ones(3, dtype=bool)), ("used has shape (3,)", "(4,)")),
    "x has a NaN": (lambda: Prompt.of(np.where(np.eye(4, 3) > 0, np.nan, X), Y), ("x has 3 non-finite", "finite numbers")),
    "y is infinite": (lambda: Prompt.of(X, np.inf * Y), ("y has 4 non-finite", "finite numbers")),
    "a query is NaN": (lambda: Prompt.of(X, Y, np.nan * X[:1]), ("x_query has 3 non-finite", "finite numbers")),
    "no own matrix": (lambda: design_matrix(PROMPT._replace(x=None)), ("no x of its own", "with_matrix")),
    "no queries": (lambda: queries(PROMPT._replace(x_query=None)), ("asks for no labels", "give it an x_query")),
    "prefixes of two queries": (lambda: prefixes(Prompt.of(X, Y, X[:2])), ("exactly one query, got 2", "vmap")),
    "prefixes without queries": (lambda: prefixes(Prompt.of(X, Y)), ("asks for no labels", "give it an x_query")),
    # input laws
    "negative eigenvalue": (lambda: covariates.spectrum(jnp.array([1.0, -2.0])), ("eigenvalues is -2", "zero or greater")),
    "rotated negative eigenvalue": (lambda: covariates.rotated(jnp.array([-1.0])), ("eigenvalues is -1", "zero or greater")),
    "eigenvalues of another d": (
        lambda: covariates.spectrum(jnp.ones(2))(jax.random.key(0), 4, 3),
        ("eigenvalues has shape (2,)", "(3,)"),
    ),
    "correlation of one": (lambda: covariates.column_correlated(1.0), ("correlation is 1", "between -1 and 1")),
    "a condition below one": (lambda: covariates.conditioned(0.5), ("condition is 0.5", "1 or more")),
    "a factor of zero": (lambda: covariates.scaled(0.0, covariates.isotropic()), ("factor is 0", "greater than zero")),
    "two degrees of freedom": (lambda: covariates.heavy_tailed(2.0), ("degrees is 2", "above 2")),
    # sparse recovery
    "more coefficients than places": (lambda: sparse.exactly(3, 5), ("sparsity is 5", "0 to 3")),
    "negative sparsity": (lambda: sparse.exactly(3, -1), ("sparsity is -1", "0 to 3")),
    "more coefficients than support": (
        lambda: sparse.exactly(3, 2, jnp.array([True, False, False])),
        ("sparsity is 2", "0 to 1"),
    ),
    "support of another d": (lambda: sparse.exactly(3, 1, jnp.ones(2, dtype=bool)), ("support has shape (2,)", "(3,)")),
    "probability above one": (lambda: sparse.bernoulli(3, 1.5), ("probability is 1.5", "between 0 and 1")),
    "blocks that do not tile": (lambda: sparse.blocks(5, 2, 1), ("blocks of 2", "divisor of 5")),
    "blocks of no size": (lambda: sparse.blocks(4, 0, 1), ("blocks of 0", "divisor of 4")),
    "an order that is none": (lambda: sparse.blocks(4, 2, 1, jnp.array([0, 1, 1, 3])), ("[0, 1, 1, 3]", "0 to 3 once")),
    "more blocks than there are": (lambda: sparse.blocks(6, 2, 4), ("4", "0 to 3")),
    "negative deviation": (lambda: gaussian_noise(-0.5), ("deviation is -0.5", "zero or greater")),
    "a pool of one matrix": (lambda: sparse.pooled(jnp.ones((4, 3))), ("matrices has shape (4, 3)", "(any, any, any)")),
    "a matrix of one row": (lambda: sparse.fixed(jnp.ones(3)), ("matrix has shape (3,)", "(any, any)")),
    "an infinite matrix": (lambda: sparse.fixed(jnp.inf * jnp.asarray(X)), ("matrix has 12 non-finite", "finite numbers")),
    "signal and matrix of other d": (
        lambda: sparse.sparse_recovery(sparse.exactly(5, 1), sparse.fresh(4, 3)),
        ("5 coefficients", "3 columns", "same d"),
    ),
    "negative penalty of a task": (
        lambda: sparse.sparse_recovery(sparse.exactly(3, 1), sparse.fresh(4, 3), penalty=-1.0),
        ("penalty is -1", "zero or greater"),
    ),
    # images
    "a picture without patches": (lambda: images.patches_of(jnp.ones((3, 9)), 4), ("(3, 9)", "smaller side")),
    "a picture of colours": (lambda: images.patches_of(jnp.ones((8, 8, 3)), 4), ("(8, 8, 3)", "(any, any)")),
    "patches that are not square": (lambda: images.camera(jnp.ones((2, 15)), 5), ("15 pixels", "square")),
    "negative measurements": (lambda: images.camera(PATCHES, -1), ("n is -1", "zero or greater")),
    "negative noise": (lambda: images.camera(PATCHES, 5, noise=-1.0), ("noise is -1", "zero or greater")),
    "patches of another size": (
        lambda: images.compressed_sensing(CAMERA, jnp.ones((2, 9))),
        ("patches has shape (2, 9)", "(any, 16)"),
    ),
    # solvers
    "no step size": (lambda: first_order.gradient_descent(0.0), ("step_size is 0", "greater than zero")),
    "infinite step size": (lambda: first_order.gradient_descent(np.inf), ("step_size is inf", "a finite number")),
    "a preconditioner with NaN": (
        lambda: first_order.preconditioned_gradient_descent(jnp.nan * jnp.eye(3)),
        ("preconditioner has 9 non-finite", "finite numbers"),
    ),
    "negative penalty of ISTA": (lambda: proximal.ista(-0.1), ("penalty is -0.1", "zero or greater")),
    "negative penalty of FISTA": (lambda: proximal.fista(-0.1), ("penalty is -0.1", "zero or greater")),
    "negative penalty of the Lasso": (lambda: lasso(X, Y, -0.1), ("penalty is -0.1", "greater than zero")),
    "a penalty that is NaN": (lambda: lasso(X, Y, np.nan), ("penalty is nan", "a finite number")),
    "Lasso of other rows": (lambda: lasso(X, Y[:3], 0.1), ("y has shape (3,)", "(4,)")),
    "Lasso of NaN": (lambda: lasso(X, np.nan * Y, 0.1), ("y has 4 non-finite", "finite numbers")),
    "M that is not square": (
        lambda: varying.lista_vm(LAYERS._replace(matrix=jnp.ones((2, 3, 4)))),
        ("matrix has shape (2, 3, 4)", "(2, 4, 4)"),
    ),
    "thresholds of other depth": (
        lambda: varying.lista_vm(LAYERS._replace(threshold=jnp.ones(3))),
        ("threshold has shape (3,)", "(2,)"),
    ),
    "negative threshold": (
        lambda: varying.lista_vm(LAYERS._replace(threshold=jnp.array([0.1, -0.2]))),
        ("threshold is -0.2", "zero or greater"),
    ),
    "M with NaN": (
        lambda: varying.lista_vm(LAYERS._replace(matrix=jnp.nan * LAYERS.matrix)),
        ("matrix has 18 non-finite", "finite numbers"),
    ),
    "known support of another d": (
        lambda: varying.known_support(LAYERS, jnp.ones(4, dtype=bool)),
        ("support has shape (4,)", "(3,)"),
    ),
    "coupled thresholds of other depth": (
        lambda: lista.lista_cp(COUPLED._replace(threshold=jnp.ones(3))),
        ("threshold has shape (3,)", "(2,)"),
    ),
    "coupled weight of one layer": (
        lambda: lista.lista_cp(COUPLED._replace(weight=jnp.ones((3, 4)))),
        ("weight has shape (3, 4)", "(any, any, any)"),
    ),
    "coupled negative threshold": (
        lambda: lista.lista_cp(COUPLED._replace(threshold=-jnp.ones(2))),
        ("threshold is -1", "zero or greater"),
    ),
    "a shared vector": (lambda: wrappers.with_matrix(NO_RESIDUAL, jnp.ones(3)), ("matrix has shape (3,)", "(any, any)")),
    # runs
    "deeper than the layers": (lambda: unroll(varying.lista_vm(LAYERS), PROMPT, 3), ("2 learned layers", "3 steps", "fewer")),
    "negative steps": (lambda: unroll(first_order.gradient_descent(0.1), PROMPT, -1), ("n_steps is -1", "zero or greater")),
    "truncated and deeper": (
        lambda: unroll(varying.lista_vm(LAYERS), PROMPT, 9, Truncated(1)),
        ("2 learned layers", "9 steps", "fewer"),
    ),
    "implicit without residual": (
        lambda: unroll(NO_RESIDUAL, PROMPT, 3, Implicit(), keep="last"),
        ("no residual", "use Unrolled()"),
    ),
    "solve as a root without residual": (
        lambda: solve(NO_RESIDUAL, PROMPT, lambda w, prompt: True, 3, Implicit()),
        ("no residual", "use Unrolled()"),
    ),
    "a linear solve without tolerance": (lambda: iterative_solve(0.0), ("tolerance is 0", "greater than zero")),
    "implicit iterates": (
        lambda: unroll(first_order.gradient_descent(0.1), PROMPT, 3, Implicit()),
        ("keep is 'iterates'", "keep='last'"),
    ),
    "solve with a learned solver": (
        lambda: solve(varying.lista_vm(LAYERS), PROMPT, lambda w, prompt: True, 3),
        ("a learned one has its own depth", "use unroll"),
    ),
    # limits
    "ridge without penalty": (lambda: ridge(PROMPT, 0.0), ("penalty is 0", "greater than zero")),
    # layouts and configs
    "an unknown slot": (lambda: LAYOUT.slice("w"), ("no slot 'w'", "x, y")),
    "an unknown slot of a block": (lambda: LAYOUT.matrix(x__z=1.0), ("no slot 'z'", "x, y")),
    "an unknown slot of a vector": (lambda: LAYOUT.vector(w=1.0), ("no slot 'w'", "x, y")),
    "a block of another size": (lambda: LAYOUT.matrix(x__y=jnp.eye(3)), ("x__y has shape (3, 3)", "(3, 1)")),
    "a number for a large block": (lambda: LAYOUT.matrix(x__x=1.0), ("x__x has shape (1, 1)", "(3, 3)")),
    "a head too small": (lambda: LAYOUT.matrix(x__x=jnp.eye(3)).factors(2), ("dimension 2", "give it 3")),
    "no layers": (lambda: fill(4, "relu", []), ("no layers", "at least one")),
    "no depth": (lambda: TransformerConfig(depth=0, heads=1, width=4), ("depth is 0", "at least 1")),
    "negative hidden units": (lambda: TransformerConfig(1, 1, 4, mlp_dim=-1), ("mlp_dim is -1", "zero or greater")),
    "factored heads of no dimension": (
        lambda: TransformerConfig(1, 1, 4, score="factored"),
        ("head_dim is 0", "'factored'", "at least 1"),
    ),
    "merged heads of some dimension": (
        lambda: TransformerConfig(1, 1, 4, head_dim=2),
        ("head_dim is 2", "merged heads need 0"),
    ),
    "negative clip": (lambda: TransformerConfig(1, 1, 4, clip=-1.0), ("clip is -1", "positive bound")),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused(what, refused):
    """One sentence, with what was given and what is needed."""
    refused(*BAD[what])


# the same values, traced: nothing is known about them, so nothing is refused
TRACED = {
    "eigenvalues": (covariates.spectrum, -jnp.ones(2)),
    "deviation": (gaussian_noise, jnp.asarray(-0.5)),
    "step size": (first_order.gradient_descent, jnp.asarray(0.0)),
    "preconditioner": (first_order.preconditioned_gradient_descent, jnp.nan * jnp.eye(3)),
    "penalty of ISTA": (proximal.ista, jnp.asarray(-0.1)),
    "penalty of FISTA": (proximal.fista, jnp.asarray(-0.1)),
    "threshold": (lambda theta: varying.lista_vm(LAYERS._replace(threshold=theta)), jnp.array([0.1, -0.2])),
    "matrix": (lambda matrix: varying.lista_vm(LAYERS._replace(matrix=matrix)), jnp.nan * LAYERS.matrix),
    "coupled threshold": (lambda theta: lista.lista_cp(COUPLED._replace(threshold=theta)), -jnp.ones(2)),
    "labels": (lambda y: Prompt.of(X, y), jnp.full(4, jnp.nan)),
    "inputs": (lambda x: Prompt.of(x, Y), jnp.full((4, 3), jnp.inf)),
    "ridge": (lambda penalty: ridge(PROMPT, penalty), jnp.asarray(-1.0)),
}


@pytest.mark.parametrize("what", TRACED)
@pytest.mark.parametrize("transform", ["jit", "vmap", "grad"])
def test_traced_values_are_not_refused(what, transform):
    """Under jit, vmap and grad the same values pass in silence; without them they are refused."""
    factory, value = TRACED[what]

    def passes(value):
        factory(value)
        return jnp.sum(value)

    with pytest.raises(ValueError, match=r"\.$"):
        passes(value)
    traced = {
        "jit": lambda: jax.make_jaxpr(jax.jit(passes))(value),
        "vmap": lambda: jax.make_jaxpr(jax.vmap(passes))(value[None]),
        "grad": lambda: jax.make_jaxpr(jax.grad(passes))(value),
    }
    assert traced[transform]().out_avals


def test_shapes_are_refused_even_when_traced():
    """A shape is known while tracing, so it is checked there too."""
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\)"):
        jax.make_jaxpr(Prompt.of)(jnp.asarray(X), jnp.ones(3))


def test_unused_examples_may_be_anything():
    """A row that is not used may hold NaN: it is set to zero, not refused."""
    used = np.array([True, True, False, True])
    prompt = Prompt.of(np.where(used[:, None], X, np.nan), np.where(used, Y, np.inf), used=used)
    np.testing.assert_array_equal(prompt.x, np.where(used[:, None], X, 0.0))
    np.testing.assert_array_equal(prompt.y, np.where(used, Y, 0.0))
    assert prompt.n_used == 3.0


def test_checks_add_nothing_to_traced_code():
    """The jaxpr of a checked value is empty."""

    def checked(value):
        checks.finite("value", value)
        checks.positive("value", value)
        checks.nonnegative("value", value)
        checks.shape("value", value, (None,))
        return value

    assert jax.make_jaxpr(checked)(jnp.ones(3)).eqns == []
