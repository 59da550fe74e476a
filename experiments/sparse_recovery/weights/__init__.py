"""The weights that ship: made, measured on held-out signals as `recover` asks them, and described by their cards.

Claim. In-context ALISTA as it ships has a mean relative error of at most 0.05 at ten measurements, in branches at most 0.01,
and Small TF from its theorem at most 0.10, when they are asked as users ask: with columns and labels of any scale.
Source. The experiments `sparse_recovery`, for in-context ALISTA, and `sparse_recovery.at_length`, for Small TF.
How. In-context ALISTA is trained with the seeds of `sparse_recovery`, as for that table. The weights of Small TF are those that
ship, or with --transformers those that a run of `sparse_recovery.at_length` left in its folder. Test signals are new. Columns
are given mean square 1, as `recover` does, and labels what they have on average in training, as the methods that ship do. The
error is that of the coefficients in the task's own units.
Expected. As trained 0.047, in branches 0.0047, for all lengths 0.078; Small TF 0.099 and, from a random start, 0.36.
Command. python -m experiments sparse_recovery.weights --preset quick --keep
"""

from pathlib import Path

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.shipping import keep_weights, write
from experiments.sparse_recovery import methods
from experiments.sparse_recovery.config import SEEDS
from experiments.sparse_recovery.weights.config import Config
from experiments.sparse_recovery.weights.figure import plot as plot
from experiments.sparse_recovery.weights.making import MAKERS
from experiments.sparse_recovery.weights.measuring import by_length, described, measure

COST = {"smoke": "20 s", "quick": "6 min"}
PRESETS = {
    "smoke": Config(
        parts=("in-context-alista",), d=4, n=2, sparsity=1, depth=2, longest=3, steps=2, batch=4, test=8, by_length=4
    ),
    "quick": Config(),
}
SHIPS = "quick"  # the preset whose weights ship
# at ten measurements, asked as users ask
ASKED = {"in-context-alista": 0.05, "in-context-alista-branches": 0.01, "small-tf": 0.10}


def run(config: Config, run: Run) -> Results:
    """Makes, measures and describes every model; weights and cards lie in the run's folder `weights`."""
    results: Results = {}
    by_length(config, results, "minimum norm", methods.shortest, config.by_length)
    for name in config.parts:
        made = MAKERS[name](config, run)
        with run.stage(f"{name}: errors on test signals"):
            metrics = measure(config, results, name, made)
        write(run, described(config, name, made, metrics), made.arrays)
    return results


def keep_more(folder: Path) -> None:
    """Copies weights and cards to where they ship from; refuses those of other sizes."""
    keep_weights(folder, SHIPS)


def claims(results: Results) -> list[Claim]:
    """The errors at ten measurements, as users ask."""
    found = []
    for name, expected in ASKED.items():
        if f"{name}/asked/mean" in results:
            mean, low, high = (float(row[-1]) for row in results[f"{name}/asked/mean"])
            text = f"{name}-d20 as it ships, asked as users ask: mean relative error at ten measurements"
            signals = int(results[f"{name}/asked/signals"])
            found.append(
                claim(f"weights/{name}", text, mean, "<=", expected, n=signals, seeds=SEEDS[1:4], interval=(low, high))
            )
    return found
