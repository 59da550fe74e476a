"""The Transformers of sparse recovery: filled by a theorem and trained on, or trained from a random start.

Claim. A Transformer of Small TF's sizes that a theorem fills with LISTA-VM with momentum, and that is then trained with all its
parameters free, recovers sparse signals better than LISTA-VM that is trained on for the same time, in mean and in median.
Source. Liu et al. 2025 (arXiv:2410.13981), for the task, Small TF and LISTA-VM; the theorem with momentum is this library's.
How. d = 20, three non-zero coefficients, ten measurements by a matrix that is new for every signal, no noise. Relative error:
mean of |w - b|^2 over mean of |b|^2; where labels are predicted, the same of the labels of 32 queries a prompt. Every
repetition trains everything anew, with its own seed and test signals; ratios are of means of one repetition, and intervals
are Student's over repetitions. All start from solvers of equal training; same time is by the clock of the trainings, on the
same devices. The safeguard is one rule for all: an iterate that fits the data worse than zero, or is far too long, is not
taken; solvers undo it, while inside of the Transformer it goes on. Rates were chosen by short trials on other draws. From a
random start there is one seed, and too few steps for the paper's results: a curve.
Expected. A ratio below 1, most of which the momentum gives; see how much the training of the Transformer adds.
Command. python -m experiments sparse_recovery.transformers --preset quick
"""

from experiments.common import Results, Run
from experiments.sparse_recovery.rows import table as table
from experiments.sparse_recovery.transformers.claims import claims as claims
from experiments.sparse_recovery.transformers.config import PARTS, Config
from experiments.sparse_recovery.transformers.figure import plot as plot
from experiments.sparse_recovery.transformers.laws import structure, support
from experiments.sparse_recovery.transformers.random_start import random, shapes
from experiments.sparse_recovery.transformers.theorem import theorem

COST = {"smoke": "60 s", "quick": "1 h", "cpu": "8 h"}
PRESETS = {
    "smoke": Config(
        parts=("theorem",),
        d=6,
        n=4,
        sparsity=1,
        depth=2,
        repetitions=1,
        solver_steps=4,
        solver_batch=8,
        steps=4,
        batch=8,
        supports=(3,),
        test=32,
        asked=32,
        fitted=64,
    ),
    "quick": Config(),
    "cpu": Config(steps=6000, solver_steps=6000, support_steps=1000, small_steps=10_000, test=100_000),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (theorem, random, support, structure, shapes), strict=True):
        if name in config.parts:
            part(config, run, results)
    return results
