"""Transformers with a memory: exact limits of what fixed coefficients can do, what training reaches, and what goes beyond.

Claim. No linear Transformer that writes labels alone, with scores that are multiples of Sigma^-1 and a memory of any fixed
scalar coefficients, has a smaller loss at depth L than the best polynomial of degree L. Closed-form coefficients have that loss
at every depth, and training on fresh prompts reaches it. Coefficients that the prompt itself determines go beyond: they make
conjugate gradients exact.
Source. Dutta and Sra 2024 (arXiv:2410.07263); the limits, the exact layer and the gate without labels are this library's.
How. d = 5, n = 20 examples, y = <x, w> without noise, L = 1..4. x ~ N(0, Sigma), w ~ N(0, Sigma^-1): isotropic, or Sigma
with eigenvalues 1, 1, 1/4, 1/16, 1 and a rotation of every seed's own. Loss: mean squared error at a fresh query, which is
integrated out, as a natural logarithm; predicting zero has log 5. It is exact, from rational moments, for limits and for the
Transformer that is trained, else a mean over a million prompts for each of five seeds; intervals hold the larger of the spread
of the prompts and that of the seeds. Transformers that write labels alone are trained as the solvers that they equal, with
parameters of their own for every depth; one is trained as a Transformer, its coefficients alone. Published: as read off the
paper's figures, one batch of 1000 prompts; `memformer.published` trains and tests as the paper does, at its sizes.
Expected. Least log loss of fixed coefficients .143, -1.018, -2.013, -2.901; conjugate gradients -.096, -1.781, -3.767, -6.395.
Command. python -m experiments memformer --preset quick
"""

from experiments.common import Results, Run
from experiments.memformer.claims import claims as claims
from experiments.memformer.config import PARTS, Config
from experiments.memformer.figure import plot as plot
from experiments.memformer.figure import table as table
from experiments.memformer.laws import few, laws
from experiments.memformer.mixture import mixture
from experiments.memformer.parts import descent, exact, limits
from experiments.memformer.scales import variance
from experiments.memformer.sweeping import swept

COST = {"smoke": "1 min", "quick": "40 min", "cpu": "6 h"}
PRESETS = {
    "smoke": Config(
        parts=("limits", "laws"),
        depth=2,
        seeds=1,
        test=64,
        lengths=(10, 20),
        conditions=(1, 4),
    ),
    "quick": Config(),
    "cpu": Config(steps=20_000, batch=512, test=5_000_000, repeats=1000),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (limits, descent, exact, variance, mixture, few, laws, swept), strict=True):
        if name in config.parts:
            part(config, run, results)
    return results
