"""Newton's method in context: inverses and least squares to rounding, logistic regression to the width of its MLPs.

Claim. Layers of linear attention invert matrices, so a Transformer runs Newton's method for least squares exactly. With ReLU
MLPs a block of 6 + k layers is a step of damped Newton for logistic regression, with an error that falls fourfold as the widths
double; above that floor it converges with the order of the exact method, on drawn prompts and on real tables.
Source. Giannou et al. 2024 (arXiv:2403.03183): Lemma 4.1, Theorems 4.2 and 5.1, Figures 1 to 9, scaled down.
How. Least squares: d = 5, 20 examples, covariances of condition 1 to 1000. Logistic: d = 5, 26 examples of norm at most 1, mu
= 0.1, 12 steps from zero. Orders: the paper's law, d = 10, 50 examples, 400 covariances of 250 prompts, the start of the
authors' code, the query integrated out. Trained linear attention: d = 5, 25 examples, width 32 in place of 64, 4,000 steps of
128 in place of 100,000 of 2,000, one seed, with the paper's curriculum, start and clip; one covariance a step. The softmax
encoder is trained to give the minimiser. Improved: the constructed Transformer with all of its parameters free. Tables: five
principal components of rows that prompts do not ask, C = 1 / (n mu), no intercept, digits from 5 on against those below;
queries are held-out rows.
Expected. Gaps of 1e-10; 6e-5 with 200 cells; a factor of 4; the order of exact damped Newton.
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

COST = {"smoke": "20 s", "quick": "1 h", "cpu": "8 h"}
PRESETS = {
    "smoke": Config(parts=("exact",), conditions=(4,), prompts=4),
    "quick": Config(),
    "cpu": Config(attention_d=10, attention_n=50, attention_width=64, attention_steps=50_000, repetitions=3),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    parts = (exact, logistic_block, improved, orders, attention, encoder, tables)
    for name, part in zip(PARTS, parts, strict=True):
        if name in config.parts:
            part(config, run, results)
    return results
