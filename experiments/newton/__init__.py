"""Newton's method in context: inverses and least squares to rounding, logistic regression to the width of its MLPs.

Claim. Layers of linear attention invert matrices, so a Transformer runs Newton's method for least squares exactly. With ReLU
MLPs a block of 6 + k layers is a step of damped Newton for logistic regression, with an error that falls fourfold as the widths
double; above that floor it converges with the order of the exact method. On real tables its probabilities are scikit-learn's.
Source. Giannou et al. 2024 (arXiv:2403.03183): Lemma 4.1, Theorems 4.2 and 5.1, Figures 1 to 9, scaled down.
How. Least squares: d = 5, 20 examples, covariances of condition 1 to 1000. Logistic: d = 5, 26 examples of norm at most 1, mu
= 0.1, 12 steps from zero; a step of Newton is 11 layers. Improved: the constructed Transformer with all of its parameters free.
Orders: the paper's law, d = 10, 50 examples, 400 covariances of 250 prompts, the start of the authors' code, the query
integrated out. Trained linear attention: d = 5, 25 examples, width 32 and 4,000 steps of 128 prompts, one covariance a step,
where the paper has 10, 50, 64 and 100,000 steps of 2,000; conditions 1 and 5 without noise, three seeds. The curriculum ends at
40 % of the steps, as there, but hides coordinates of inputs too; gradients are clipped also where there is a norm; rates come
from trials on other draws. Lines (Figures 3 to 6): one seed, condition 1. The softmax encoder is trained to give the minimiser.
Tables: five principal components of rows that prompts do not ask, C = 1 / (n mu), no intercept, digits 3 against 8; queries are
held-out rows. `paper` has its sizes and orders to 10, conditions 5 and 10, with noise; its deeper lines are in no preset.
Expected. Gaps of 1e-10; 6e-5 with 200 cells; a factor of 4; the order of exact damped Newton; rest within the bound.
Command. python -m experiments newton --preset quick
"""

from experiments.common import Results, Run
from experiments.newton.attention import attention
from experiments.newton.blocks import logistic_block
from experiments.newton.claims import claims as claims
from experiments.newton.config import PARTS, Config
from experiments.newton.encoder import encoder
from experiments.newton.exact import exact
from experiments.newton.figure import plot as plot
from experiments.newton.figure import table as table
from experiments.newton.improved import improved
from experiments.newton.orders import orders
from experiments.newton.tables import tables

COST = {"smoke": "20 s", "quick": "2 h", "cpu": "20 h", "paper": "never run: 900 PFLOP"}
PRESETS = {
    "smoke": Config(
        parts=("exact", "logistic"), conditions=(4,), prompts=12, newton_steps=6, cells=(100, 200), improved_cells=(100,)
    ),
    "quick": Config(),
    "cpu": Config(attention_d=10, attention_n=50, attention_width=64, attention_steps=50_000),
    "paper": Config(
        orders=(2, 3, 4, 6, 8, 10),
        attention_laws=((1, 0.0), (5, 0.0), (10, 0.0), (5, 0.1), (10, 0.1)),
        layers=(1, 2, 3, 4, 5, 6),
        attention_d=10,
        attention_n=50,
        attention_width=64,
        attention_steps=100_000,
        attention_rate=1e-4,
        norm_rate=1e-4,
        encoder_layers=(1, 2, 4, 8, 13, 20, 26, 40),
        encoder_steps=100_000,
        encoder_rate=1e-4,
        batch=2000,
    ),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    parts = (exact, logistic_block, improved, orders, attention, encoder, tables)
    for name, part in zip(PARTS, parts, strict=True):
        if name in config.parts:
            part(config, run, results)
    return results
