"""Transformers trained in context on mixtures of linear regressions, beside EM, linear estimates and Bayes.

Claim. An encoder of ReLU attention learns to estimate the oracle's coefficients from prompts of two components; whether it errs
less than EM and linear estimates depends on the length of the prompt and the noise, and the map says where. Its gap on B fixed
prompts, after a fixed number of steps, is held to 1 / sqrt(B).
Source. Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183), whose figures were not at hand: sizes are this library's.
How. d = 8; x ~ N(0, I), components N(0, I / d), drawn anew for every prompt and equally likely for every example, so that the
posterior mean, by Gibbs chains, is the limit of all rows; signal to noise is 1 / sigma. Numbers are the excess risk over the
oracle, |b - bbar|^2, the query integrated out. The encoder (four layers, width 64, no norms) outputs b from its last token; it
is trained on the squared error of 128 noisy labels a prompt: 10,000 steps of 32 prompts of 16 to 32 examples, 2000 of 16 to
128, all ratios together; three seeds. EM knows weights and noise, not the components' law, and starts from the best of 32
tries, annealed or not; linear estimates know noise and law; the network learns the law, and is not told the noise. Shapes and
counts: one ratio, one seed, a fifth of the steps. Sets: B prompts of 32 examples with one noisy label each, 1000 steps of 32 of
them: 500 times through the least set and 8 times through the largest, so not to a minimum; where components are given, the same
in all prompts, bbar can be learned by heart. Validation draws choose the claims' cell and its best baseline.
Expected. At most the best baseline at its best cell, and 1.1 of Bayes; elsewhere it may lose, to EM where noise is low.
Command. python -m experiments mixture.trained --preset quick
"""

from experiments.common import Results, Run
from experiments.mixture.trained.ablations import counts, shapes
from experiments.mixture.trained.claims import claims as claims
from experiments.mixture.trained.config import PARTS, Config
from experiments.mixture.trained.figure import plot as plot
from experiments.mixture.trained.figure import table as table
from experiments.mixture.trained.fresh import fresh
from experiments.mixture.trained.sets import sets

COST = {"smoke": "20 s", "quick": "1 h", "paper": "never run"}
PRESETS = {
    "smoke": Config(
        parts=("map",),
        ratios=(1,),
        lengths=(16,),
        width=8,
        depth=1,
        seeds=1,
        short=16,
        steps=(2, 2),
        batch=4,
        queries=4,
        test=40,
        validation=50,
        em_steps=2,
        starts=2,
        trial_steps=1,
        bayes=2,
        chains=4,
        annealing=4,
        sweeps=2,
    ),
    "quick": Config(),
    "paper": Config(
        d=32,
        lengths=(64, 128, 256, 512),
        short=128,
        steps=(200_000, 50_000),
        batch=64,
        shape_steps=(100_000, 20_000),
        set_steps=100_000,
    ),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (fresh, shapes, counts, sets), strict=True):
        if name in config.parts:
            part(config, run, results)
    return results
