"""One curve over 0 to 40 measurements: a trained Transformer between what it is compared with, on the same signals.

Claim. With ten measurements of signals with three of twenty coefficients, Small TF that a theorem filled, and that was trained
on at ten, errs less than LISTA-VM with as many steps and one set of parameters for every n, and less than FISTA's twelve steps.
Source. Liu et al. 2025 (arXiv:2410.13981), for the task, LISTA-VM and Small TF; Garg et al. 2022 (arXiv:2208.01066), for GPT-2.
How. A fresh Gaussian matrix for every signal, as drawn, and no noise. Relative error: mean of |w - b|^2 over mean of |b|^2; for
what answers with labels, Small TF from a random start and GPT-2, the same of labels, which isotropic queries put on one scale.
At a number of measurements all methods meet the same signals, of which slower ones meet the first. Models are those that ship,
asked as they were trained, in the range of their cards and, drawn thin, out of it. LISTA-VM is trained on prompts of 1 to 40
measurements and wears the safeguard; FISTA's penalty is chosen at ten, on validation signals. The Bayes estimate sums over all
supports; its error is measured up to three measurements, and from four on it is zero. GPT-2 and the course of the long training
are drawn from what other experiments have kept.
Expected. At ten measurements: FISTA with twelve steps 0.27, LISTA-VM 0.22, Small TF 0.10, in-context ALISTA 0.047.
Command. python -m experiments sparse_recovery.prefixes --preset quick
"""

from functools import partial

import numpy as np

from experiments.common import Results, Run
from experiments.parts import kept
from experiments.sparse_recovery.prefixes.claims import claims as claims
from experiments.sparse_recovery.prefixes.config import BAYES, Config
from experiments.sparse_recovery.prefixes.figure import plot as plot
from experiments.sparse_recovery.prefixes.measuring import measured
from experiments.sparse_recovery.rows import table as table

COST = {"smoke": "10 s", "quick": "8 min"}
PRESETS = {
    "smoke": Config(
        parts=(BAYES, "minimum norm", "in-context ALISTA, any n"), n=2, longest=3, sparsity=1, signals=8, few=4, test=8
    ),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Every method that the config asks for, one after another; what is measured is kept."""
    results: Results = {name: np.array(getattr(config, name)) for name in ("n", "d", "sparsity", "longest")}
    for title in config.parts:
        results |= kept(run, f"part {title}", partial(measured, config, run, title))
    return results
