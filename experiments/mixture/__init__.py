"""Mixtures of linear regressions in context: EM as a Transformer, the best linear attention, and what neither can beat.

Claim. A Transformer of ReLU attention and MLPs runs gradient EM, with an error that falls fourfold as its widths double. One
layer of linear self-attention goes, by gradient flow, to the best matrix, whose risk is a closed form. On few or noisy examples
no EM that is not told the truth beats what is linear in the labels; on many and clean ones it beats all of that.
Source. Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183); the rates of EM are those of Kwon, Ho and Caramanis 2021
(arXiv:2006.02601). That prompts have 32 features and components norm one is recalled of the paper, not read.
How. Excess risk is E (y_hat - <x, bbar>)^2, bbar the mean of the components: the oracle has none. Constructions: d = 5 and 4,
300 and 400 examples, starts 0.5 from the truth, float64. Attention: d = 5, trained for 20 examples. Rows: d = 32, equally
likely components, 400 prompts each; EM knows weights and noise and makes 20 steps; "restarted" takes of 4 random starts, and
"spectral" of 4 draws of the subspace, that with the best likelihood after 8; "annealed" begins where the best of 4 random ones
is led by a noise that falls from 1 in 20 steps. Bayes: d = 8, two Gaussian components, 64 annealed Gibbs chains. Rates: b and
-b of equal weight, d = 8, from 0.25 off the truth until steps are shorter than 1e-5. Tables: 20 halvings of iris and of wine,
the class hidden, columns chosen where classes have different lines; EM's start, weights and noise are given to the Transformer.
Step sizes and ranges of constructions are those of the prompts that they are compared on.
Expected. Gaps of 3e-5 and 1e-5; slopes of -0.3 at |b| / sigma = 0.2, of -0.5 from 0.5 on; ten times the steps for the first.
Command. python -m experiments mixture --preset quick
"""

from experiments.common import Results, Run
from experiments.mixture.attention import attention
from experiments.mixture.bayes import bayes
from experiments.mixture.claims import claims as claims
from experiments.mixture.config import PARTS, Config
from experiments.mixture.exact import exact
from experiments.mixture.figure import plot as plot
from experiments.mixture.figure import table as table
from experiments.mixture.rows import rows
from experiments.mixture.slopes import slopes
from experiments.mixture.tables import tables

COST = {"smoke": "30 s", "quick": "40 min", "paper": "8 h"}
PRESETS = {
    "smoke": Config(parts=("attention",), flow_steps=12_000, attention_lengths=(20,), drawn=1000),
    "quick": Config(),
    "paper": Config(repeats=2000, row_steps=50, starts=10, trial_steps=20, bayes_prompts=1000, slope_repeats=1000, splits=100),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for."""
    results: Results = {}
    for name, part in zip(PARTS, (exact, attention, rows, bayes, slopes, tables), strict=True):
        if name in config.parts:
            results |= part(config, run)
    return results
