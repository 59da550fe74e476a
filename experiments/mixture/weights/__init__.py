"""The encoder of mixtures as it ships: from noisy labels of two linear models it estimates the mean of their coefficients.

Claim. Asked as users ask, where `mixture.trained` has it nearest to the best baseline, at a signal-to-noise ratio of 1 and 64
examples, it errs at most a twentieth more than the best estimate that is linear in the labels and knows noise and law.
Source. After Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183); the experiment `mixture.trained`.
How. As `mixture.trained`: d = 8, x ~ N(0, I), two components N(0, I / d), drawn anew for every prompt and equally likely for
every example; four layers of ReLU attention of width 64, trained on 16 to 128 examples at the ratios 1, 5 and 10 together, one
seed. Test signals are new. Columns are given mean square 1, as `recover` does, and labels what they have on average in
training, which takes away what their size says of the noise. Errors are |b_hat - bbar|^2 over the mean of |bbar|^2, which is
1/2. Baselines: the best estimate linear in the labels, and EM from the best of several starts; both know the noise.
Expected. Near the linear estimate everywhere; EM errs less from 32 examples on where the ratio is 5 or 10.
Command. python -m experiments mixture.weights --preset cpu --keep
"""

from pathlib import Path

from experiments.claims import Claim, claim
from experiments.common import Results, Run
from experiments.mixture.trained.config import TRAINING
from experiments.mixture.weights.config import Config
from experiments.mixture.weights.making import described, made_of
from experiments.mixture.weights.measuring import BASELINES, NAME, TESTED, law_of, measure
from experiments.shipping import ASKED, keep_weights, write
from experiments.shipping import plot as plot
from experiments.shipping import table as table

COST = {"smoke": "20 s", "quick": "4 min", "cpu": "13 min"}
SHIPS = "cpu"  # the preset whose weights ship
PRESETS = {
    "smoke": Config(
        ratios=(1,), lengths=(16,), width=8, depth=1, short=16, steps=(2, 2), batch=4, queries=4, test=50, em_steps=2, starts=2
    ),
    "quick": Config(steps=(1000, 100), test=100, em_steps=20, starts=8),
    "cpu": Config(),
}
AT, EXPECTED = (1, 64), 1.05  # the ratio and the examples of the claim; what the error is at most, over the linear estimate's


def run(config: Config, run: Run) -> Results:
    """Trains, measures and describes the encoder; weights and card lie in the run's folder `weights`."""
    results: Results = {}
    made = made_of(config, run)
    with run.stage("errors on test signals"):
        measure(config, results, made)
    write(run, described(config, run, results, made), made.arrays)
    return results


def keep_more(folder: Path) -> None:
    """Copies weights and card to where they ship from; refuses those of other sizes."""
    keep_weights(folder, SHIPS)


def claims(results: Results) -> list[Claim]:
    """The error as users ask over that of the linear estimate, on the same signals."""
    ratio, lengths = AT[0], results[f"{NAME}/lengths"].tolist()
    place = lengths.index(AT[1]) if AT[1] in lengths else 0
    own, linear = (results[f"{NAME}/{law_of(ratio)}/{of}"][place] for of in (ASKED, BASELINES[0]))
    value, low, high, _ = (own / linear[0]).tolist()
    text = (
        f"{NAME} as it ships, asked as users ask, SNR {ratio}, {lengths[place]} examples: mean error over that of the best "
        "estimate linear in the labels, whose own sampling the interval leaves out"
    )
    seeds = (TRAINING[0], TESTED)
    return [
        claim(f"weights/{NAME}", text, value, "<=", EXPECTED, n=int(own[3]), seeds=seeds, kind="ratio", interval=(low, high))
    ]
