"""Sparse signals from ten measurements by a matrix that is new for every signal: what twelve steps can do.

Claim. In-context ALISTA, 48 scalars whose weights come in closed form from each prompt's own matrix, does in twelve steps the
work of four hundred steps of FISTA; in d + 1 branches, of which the simplest answer is given, it has a tenth of that error.
LISTA-VM, the solver that a Transformer of Liu et al. runs, does not, and explodes now and then without its safeguard. Weights
that were learned for one matrix serve that matrix alone, even when learned on many. The linear rate of LISTA-VM that is
derived from coherences holds in every instance, with enough measurements.
Source. Liu et al. 2025 (arXiv:2410.13981), for the task (d = 20, three non-zero coefficients, isotropic X) and LISTA-VM; the
bound, in-context ALISTA and its theorem are this library's.
How. Relative error: mean of |w - b|^2 over mean of |b|^2, all test signals counted. Fresh matrices and signals at every step of
training; the loss is the mean over steps of the logarithm of the batch's relative error. Penalties of the classical solvers
are chosen on validation signals. Learned solvers for any matrix, TISTA aside, wear the safeguard in training and test. One
training of each method, but five matrices for LISTA-CP; test signals are new. Rates and starts were chosen by short trials on
other draws.
Expected. FISTA with 400 steps about 0.045; in-context ALISTA at most 0.05, its median at most 0.002; LISTA-VM at most 0.25.
Command. python -m experiments sparse_recovery --preset quick
"""

from experiments.common import Results, Run
from experiments.sparse_recovery import parts
from experiments.sparse_recovery.claims import claims as claims
from experiments.sparse_recovery.config import Config
from experiments.sparse_recovery.figure import plot as plot
from experiments.sparse_recovery.rows import table as table

COST = {"smoke": "20 s", "quick": "35 min"}
PRESETS = {
    "smoke": Config(
        parts=("blocks", "bound"),
        d=8,
        n=6,
        sparsity=2,
        depth=2,
        steps=2,
        batch=8,
        validation=16,
        test=32,
        shifted=16,
        instances=(60,),
        checked=8,
        fista_steps=5,
    ),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    trained = parts.fresh_matrices(config, run, results) if "fresh" in config.parts else {}
    if "laws" in config.parts:
        parts.other_laws(config, run, trained, results)
    for name, part in {
        "one": parts.one_matrix,
        "length": parts.any_length,
        "noise": parts.noisy,
        "blocks": parts.block_signals,
        "bound": parts.bound,
    }.items():
        if name in config.parts:
            part(config, run, results)
    return results
