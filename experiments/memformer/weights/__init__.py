"""Linear self-attention and a Memformer as they ship: trained at every depth in several forms, the best of each chosen.

Claim. Each has at most the least loss that fixed scalar coefficients allow at its depth, asked as users ask, and least squares,
which is exact, has less: what ships is to be studied, not to solve.
Source. Dutta and Sra 2024 (arXiv:2410.07263); the limit is this library's.
How. As `memformer`: d = 5, n = 20, x and w ~ N(0, I), y = <x, w>, no noise. Linear self-attention of 1 to 6 layers, whose
inputs stay or move (GD++); Memformers of 1 to 4 layers, with momentum or a Hadamard memory, whose inputs stay or move. All
depths and seeds of a form are trained at once, on fresh prompts, from gradient descent; validation draws choose form, depth and
seed. What ships is the Transformer itself. Its answers are linear in the query, so its coefficients are its answers at the unit
vectors, and it wears the safeguard. Test signals are new. Columns are given mean square 1, as `recover` does, and labels what
they have on average in training. Baselines: least squares, and ridge regression that knows the noise, Bayes' estimate.
Expected. The relative error of fixed scalar coefficients is at least 0.011 with four layers and 0.0021 with six.
Command. python -m experiments memformer.weights --preset cpu --keep
"""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.memformer.measuring import D
from experiments.memformer.weights.config import Config
from experiments.memformer.weights.making import described, made_of
from experiments.memformer.weights.measuring import NOISE, TESTED, beside_baselines, task_of
from experiments.memformer.weights.training import FAMILIES, SEEDS, chosen
from experiments.shipping import ASKED, both_ways, compare, keep_weights, write
from experiments.shipping import plot as plot
from experiments.shipping import table as table
from jaxl2o.limits.polynomial import limit

COST = {"smoke": "20 s", "quick": "3 min", "cpu": "23 min"}
SHIPS = "cpu"  # the preset whose weights ship
PRESETS = {
    "smoke": Config(alone=1, depth=1, forms=("no memory", "momentum"), seeds=1, steps=2, batch=4, test=16, tested=16),
    "quick": Config(seeds=1, steps=1500, batch=128, test=10_000, tested=10_000),
    "cpu": Config(),
}


def run(config: Config, run: Run) -> Results:
    """Trains and chooses both models, measures and describes them; weights and cards lie in the run's folder `weights`."""
    results: Results = {}
    for name in FAMILIES:
        best = chosen(config, run, results, name)
        made = made_of(config, name, best)
        results[f"{name}/depth"] = np.array(best.depth)
        results[f"{name}/limit"] = limit(config.n, (1,) * D, best.depth) / D
        with run.stage(f"{name}: errors on test signals"):
            ways = both_ways(made, D, float(D))
            lengths = tuple(n for n in TESTED if made.n_least <= n <= made.n_most)
            beside = partial(beside_baselines, ways)
            task = partial(task_of, lengths[-1])
            compare(results, name, beside, task, NOISE, lengths, jax.random.key(SEEDS[-1]), config.tested, 1000)
        write(run, described(config, run, results, name, best, made), made.arrays)
    return results


def keep_more(folder: Path) -> None:
    """Copies weights and cards to where they ship from; refuses those of other sizes."""
    keep_weights(folder, SHIPS)


def claims(results: Results) -> list[Claim]:
    """The errors as users ask, at the number of examples of training."""
    found = []
    for name in FAMILIES:
        place = results[f"{name}/lengths"].tolist().index(TESTED[0])
        value, low, high, signals = results[f"{name}/no noise/{ASKED}"][place].tolist()
        depth, least = int(results[f"{name}/depth"]), float(results[f"{name}/limit"][-1])
        text = (
            f"{name}-d{D} as it ships, {depth} layers, asked as users ask: mean relative error at {TESTED[0]} measurements, "
            "held to the least of fixed scalar coefficients at that depth, which inputs that move may pass"
        )
        found.append(
            claim(
                f"weights/{name}", text, value, "<=", least, n=int(signals), seeds=SEEDS, interval=(low, high), kind="measured"
            )
        )
    return found
