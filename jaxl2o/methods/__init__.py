"""Every method that answers by name: certified, closed forms, solvers that need no training, theorems, pretrained models."""

import difflib
from collections.abc import Callable
from functools import partial

from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.certified.lasso import certified
from jaxl2o.certified.problem import Fraction, prompt_problem
from jaxl2o.limits.least_squares import minimum_norm, ridge
from jaxl2o.methods.method import LEAST, RIDGE, SHARE, Method, Named, by_steps, in_unit_columns, in_unit_steps
from jaxl2o.methods.theorems import THEOREMS, by_theorem, nesterovs_momenta, outside
from jaxl2o.pretrained import NAMES, load_card, load_pretrained
from jaxl2o.solvers.denoisers import soft
from jaxl2o.solvers.first_order import gradient_descent
from jaxl2o.solvers.greedy import omp
from jaxl2o.solvers.in_context import in_context_alista, in_context_start
from jaxl2o.solvers.inverse import transposed
from jaxl2o.solvers.krylov import conjugate_gradient
from jaxl2o.solvers.message_passing import amp
from jaxl2o.solvers.momentum import heavy_ball, heavy_ball_optimum, nesterov
from jaxl2o.solvers.newton import newton
from jaxl2o.solvers.orthogonal import oamp
from jaxl2o.solvers.proximal import fista, ista
from jaxl2o.solvers.unroll import unroll
from jaxl2o.types import Prompt, Solver, design_matrix

ALPHA = 1.5  # the threshold of message passing, in standard deviations of its noise


def lasso_at(fraction: float, tolerance: float = 1e-8, max_steps: int = 100_000) -> Method:
    """The Lasso with a fraction of the largest penalty of the prompt, solved to a relative duality gap of `tolerance`."""
    checks.positive("fraction", fraction)

    def solve(prompt: Prompt) -> Float[Array, " d"]:
        return certified(prompt_problem(prompt, Fraction(fraction)), tolerance=tolerance, max_steps=max_steps).solution

    return solve


def ridge_at(share: float) -> Method:
    """Ridge whose penalty is a share of the largest eigenvalue of X'X / n."""
    return in_unit_steps(partial(ridge, penalty=share))


def pretrained(name: str) -> Named:
    """A model that ships, whose weights are read when it is first asked."""
    card = load_card(name)
    asked = next(metric for metric in card.metrics if "as `recover` asks" in metric.of)
    says = f"{card.summary}; {asked.of}: {asked.value:.3g}"
    return Named(
        "pretrained", says, lambda prompt: load_pretrained(name).method(prompt), str(card.d), card.lengths, card.outside
    )


def theorem(name: str) -> Named:
    """The Transformer of a theorem, for problems that are not too large for it."""
    own = THEOREMS[name]
    most_d, most_n = f"up to {own.most.d}", f"up to {own.most.n}"
    return Named("theorem", own.says, by_theorem(own), most_d, most_n, partial(outside, f"transformer_{name}", own.most))


def at_most_half(prompt: Prompt) -> Float[Array, " d"]:
    """Matching pursuit of half as many columns as rows: signals of no more non-zeros are determined by a generic X."""
    n, d = design_matrix(prompt).shape
    return unroll(omp(), prompt, min((n + 1) // 2, d), keep="last")


def steps(units: Callable[[Method], Method], says: str, n_steps: int, solver: Callable[[], Solver]) -> Named:
    """So many steps of a solver, in the units that its constants are for."""
    return Named("solver", f"{n_steps} steps of {says}", units(by_steps(solver, n_steps)))


TOWARDS = f"towards the Lasso of penalty {SHARE:g}"
FOR = f"for conditions up to {1.0 / LEAST:g}"

METHODS: dict[str, Named] = {
    "lasso": Named("certified", "the Lasso, solved to a duality gap", lasso_at(SHARE)),
    "minimum_norm": Named("closed form", "of all that fit best, the shortest", minimum_norm),
    "ridge": Named(
        "closed form", f"ridge regression of penalty {RIDGE:g}, over the largest eigenvalue of X'X / n", ridge_at(RIDGE)
    ),
    "ista": steps(in_unit_steps, f"ISTA {TOWARDS}", 400, lambda: ista(SHARE, 1.0)),
    "fista": steps(in_unit_steps, f"FISTA {TOWARDS}", 400, lambda: fista(SHARE)),
    "gradient_descent": steps(in_unit_steps, "gradient descent", 400, lambda: gradient_descent(1.0)),
    "heavy_ball": steps(in_unit_steps, f"heavy ball, {FOR}", 400, lambda: heavy_ball(*heavy_ball_optimum(LEAST, 1.0))),
    "nesterov": steps(in_unit_steps, "Nesterov's method", 400, lambda: nesterov(1.0, nesterovs_momenta(400))),
    "conjugate_gradient": steps(in_unit_steps, "conjugate gradients", 400, conjugate_gradient),
    "newton": steps(in_unit_steps, "Newton and Schulz for the inverse of X'X", 30, lambda: newton(transposed(1.0))),
    "matching_pursuit": Named("solver", "orthogonal matching pursuit of half as many columns as rows", at_most_half),
    "message_passing": steps(in_unit_columns, "approximate message passing, for Gaussian X", 100, lambda: amp(soft(ALPHA))),
    "orthogonal_message_passing": steps(in_unit_steps, "orthogonal message passing", 100, lambda: oamp(soft(ALPHA), 0.0)),
    "in_context_alista": steps(
        in_unit_steps, "in-context ALISTA before any training", 16, lambda: in_context_alista(in_context_start(16))
    ),
    **{f"transformer_{name}": theorem(name) for name in THEOREMS},
    **{name: pretrained(name) for name in NAMES},
}


def method_of(name: str) -> Named:
    """The method of this name; if there is none, `InputError` names those that have it in theirs, or else the nearest."""
    having = [known for known in METHODS if name and name.lower() in known][:3]
    close = having or difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"choose one of {', '.join(METHODS)}."
    checks.require(name in METHODS, f"there is no method {name!r}; {hint}")
    return METHODS[name]
