"""ALISTA and NA-ALISTA as they ship: for any matrix of 250 x 500, whose weights come in closed form from the user's own X.

Claim. On matrices that are new for every signal they err no more than on the one matrix of the benchmark: ALISTA no more than
was published of it at its best, NA-ALISTA no more than the ALISTA of `l2o_benchmark`.
Source. Liu et al. 2019 (ICLR), Behrens et al. 2021 (arXiv:2010.13053); the experiment `l2o_benchmark`.
How. 250 measurements of 500 coefficients, of which 50 are not zero on average, at 40 dB. Columns have mean square 1 and are
brought to unit norm inside, as there. Starts, rates, losses and support selection are those of `l2o_benchmark`. ALISTA's 32
scalars are trained on the benchmark's matrix, and on a new matrix in every step, which its signals share; the better on
validation draws ships. NA-ALISTA is trained on new matrices. Test signals have a matrix each, N(0, 1), whose columns are given
mean square 1, as `recover` does; labels are given what they have on average in training. Baseline: 400 steps of FISTA on the
Lasso, its penalty, a share of the least that gives zero, chosen on validation draws at 40 dB.
Expected. ALISTA -41 dB, NA-ALISTA -42 dB, as on one matrix; the Lasso -34 dB; it errs less with 200
and with 400 measurements, which are outside of the range that the cards give.
Command. python -m experiments l2o_benchmark.weights --preset cpu --keep
"""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.l2o_benchmark.problems import SETTINGS, problem_of
from experiments.l2o_benchmark.weights.config import Config
from experiments.l2o_benchmark.weights.making import MAKERS, described
from experiments.l2o_benchmark.weights.measuring import Sizes, beside_lasso, task_of, tuned_share
from experiments.l2o_benchmark.weights.training import SEEDS
from experiments.shipping import ASKED, TRAINED, both_ways, compare, keep_weights, on_columns, write
from experiments.shipping import plot as plot
from experiments.shipping import table as table

COST = {"smoke": "20 s", "quick": "3 min", "cpu": "1 h, estimated; 2 min on an H200"}
SHIPS = "cpu"  # the preset whose weights ship
PRESETS = {
    "smoke": Config(setting="small", depth=2, batch=4, steps=1, adaptive=1, validation=4, test=8, lasso_steps=2),
    "quick": Config(batch=32, steps=300, adaptive=400, validation=64, test=100, lasso_steps=200),
    "cpu": Config(),
}
DECIBELS = {"40 dB": 40.0, "20 dB": 20.0, "60 dB": 60.0}  # of noise in tests; the first are those of training
# NMSE in dB: of ALISTA as published at its best, and of ALISTA on one matrix in `l2o_benchmark`
EXPECTED = {"alista": -39.07, "na-alista": -41.11}


def run(config: Config, run: Run) -> Results:
    """Trains, measures and describes both; weights and cards lie in the run's folder `weights`."""
    results: Results = {}
    sizes = Sizes(problem_of(SETTINGS[config.setting]))
    share = tuned_share(config, sizes)
    for name, maker in MAKERS.items():
        made = maker(config, run, results, sizes)
        ways = both_ways(made, sizes.d, sizes.label_mean_square)
        ways[TRAINED] = on_columns(ways[TRAINED])  # its law has columns of mean square 1
        with run.stage(f"{name}: errors on test signals"):
            beside = partial(beside_lasso, ways, share, config.lasso_steps)
            task = partial(task_of, sizes, max(sizes.lengths))
            compare(results, name, beside, task, DECIBELS, sizes.lengths, jax.random.key(SEEDS[-1]), config.test, 50)
        write(run, described(run, results, name, made, sizes), made.arrays)
    results["share"], results["place"] = np.array(share), np.array(sizes.lengths.index(sizes.n))
    return results


def keep_more(folder: Path) -> None:
    """Copies weights and cards to where they ship from; refuses those of other sizes."""
    keep_weights(folder, SHIPS)


def claims(results: Results) -> list[Claim]:
    """NMSE as users ask, at the sizes and the noise of training."""
    found = []
    for name, expected in EXPECTED.items():
        place = int(results["place"])
        value, low, high, signals = results[f"{name}/40 dB/{ASKED}"][place].tolist()
        decibels = [float(10.0 * np.log10(number)) for number in (value, low, high)]
        text = f"{name} as it ships, asked as users ask, a new matrix for every signal, 40 dB: NMSE, ratio of sums"
        interval = (decibels[1], decibels[2])
        found.append(
            claim(
                f"weights/{name}", text, decibels[0], "<=", expected, n=int(signals), seeds=SEEDS, interval=interval, unit="dB"
            )
        )
    return found
