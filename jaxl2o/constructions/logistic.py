"""A block of linear attention and ReLU MLPs is one step of damped Newton for logistic regression, up to its MLPs' widths."""

from jaxtyping import Array, Float

from jaxl2o import checks
from jaxl2o.constructions.construction import Construction, fill
from jaxl2o.constructions.logistic_block import Cells, Counting, damped_newton_block
from jaxl2o.constructions.logistic_bound import error_bound
from jaxl2o.constructions.newton import GIANNOU
from jaxl2o.models.encoding import Encoding
from jaxl2o.models.matrices import classification_table, classification_table_of_any_length
from jaxl2o.objectives import logistic_prediction
from jaxl2o.solvers import logistic
from jaxl2o.tasks.classification import logistic_regression
from jaxl2o.tasks.covariates import isotropic, within_unit_ball
from jaxl2o.types import Prompt, ScalarLike


def damped_newton(
    d: int, penalty: ScalarLike, steps: int, inner_steps: int, cells: Cells, n: int, radius: float = 0.0
) -> Construction:
    """6 + k layers, at most 4 heads, width 6d + 4: one step of damped Newton, for prompts of n examples; a block for all steps.

    Giannou et al. 2024, Theorems 5.1 and 5.2 (arXiv:2403.03183), who need 11 + 2k layers; the weights are our own. Examples
    have |x_i| <= 1 and labels of -1 and +1. Tokens are those of `classification_table`, with w in each; k = inner_steps.

      layer      score          writes                                       so that
      1          <x_i, w_j>     1 into s, for j = 1                          s: <x_i, w>
                 MLP            sigma'(s) into s, sigma(s) - (y + 1)/2 into q
      2          MLP            s x_i into p, and s is cleared               P = X' diag(sigma')
      3          <e_i, x_j>     p_j / n into b                               B = H, the Hessian
                 <e_i, e_j>     mu e_j into b, alpha e_j into v              V = alpha I;  MLP: p is cleared
      4 .. 3+k   <v_i, b_j>     -v_j into v                                  V <- 2V - V B V
                 <e_i, e_j>     v_j into v
      4 too      1 q_j          x_j / n into p                               p: the gradient g, in every token
                 1              mu w_j into p, for j = 1
      4 + k      <p_i, e_j>     v_j into b                                   b: V g, in every token
                 <e_i, e_j>     -b_j into b, -v_j into v
      5 + k      <b_i, p_j>     1 into s, for j = 1                          s: lambda^2;  MLP: eta into s, p is cleared
      6 + k      s_i            -b_j into w, for j = 1                       w <- w - eta V g
                 1              -b_j into b, for j = 1                       MLP: s and q are cleared

    The curves are linear between knots (`piecewise`), over the `ranges` that exact iterates cannot leave; sigma' and sigma, of
    one argument, share their units. `tolerance` is `error_bound`, of order 1 / cells^2.

    paper      code                  shape
    mu         penalty               (), > 0
    k          inner_steps           (), >= 1
    alpha      first_inverse(mu)     ()
    N          cells                 three numbers; the MLPs have M + 6, 4 d M + 2 and M + 4 + 2d units of use

    radius: starts have |w_0| <= radius.

    Raises `ValueError` for a penalty that is not positive, and numbers of steps and cells below one.
    """
    checks.require(n >= 1, f"n is {n}; it must be at least 1.")
    counting = Counting(1.0 / n, "e", 1.0)
    return _construction(classification_table(d, n), penalty, steps, inner_steps, cells, n, radius, counting)


def damped_newton_of_any_length(
    d: int, penalty: ScalarLike, steps: int, inner_steps: int, cells: Cells, least: int, n: int, radius: float = 0.0
) -> Construction:
    """The same for prompts of every length from `least` on, by one slot more: width 6d + 5, and n in no weight.

    Examples stand as x_i / sqrt(n) and iterates as sqrt(n) w, so that B and V need no n, and p and b are sqrt(n) g and
    sqrt(n) V g; then lambda^2 is <b, p> / n, by the slot that holds e_1 / n. Products are made for numbers up to
    1 / sqrt(least), of the shortest prompts; so their error grows with sqrt(n / least), and `tolerance` is that of prompts of
    at most n examples, as many as sampled ones have.
    """
    checks.require(1 <= least <= n, f"least is {least} with n = {n}; it must lie between 1 and n.")
    counting, growth = Counting(1.0, "share", least**-0.5), (n / least) ** 0.5
    encoding = classification_table_of_any_length(d)
    return _construction(encoding, penalty, steps, inner_steps, cells, n, radius, counting, growth)


def logistic_answer(iterate: Float[Array, " d"], prompt: Prompt) -> Float[Array, " m"]:
    """The probability of the label +1 for every query; the iterate itself if there are none."""
    return iterate if prompt.x_query is None else logistic_prediction(iterate, prompt.x_query)


def _construction(
    encoding: Encoding,
    penalty: ScalarLike,
    steps: int,
    inner_steps: int,
    cells: Cells,
    n: int,
    radius: float,
    counting: Counting,
    growth: float = 1.0,
) -> Construction:
    for name, count in {"steps": steps, "inner_steps": inner_steps, **cells._asdict()}.items():
        checks.require(count >= 1, f"{name} is {count}; it must be at least 1.")
    checks.nonnegative("radius", radius)
    solver = logistic.damped_newton(penalty)
    at = encoding.layout
    d = at.slice("a").stop
    block = damped_newton_block(at, penalty, inner_steps, cells, radius, counting)
    config, params = fill(at.width, "linear", block, repeats=steps)
    claimed = tuple((t, len(block) * t) for t in range(steps + 1))
    task = logistic_regression(n, d, penalty, within_unit_ball(isotropic()), n_queries=2)
    bound = error_bound(d, penalty, steps, inner_steps, cells, radius, growth)
    return Construction(
        GIANNOU + ", Theorem 5.1",
        config,
        encoding,
        params,
        solver,
        claimed,
        logistic_answer,
        lambda key: task.sample(key).prompt,
        bound,
    )
