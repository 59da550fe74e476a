"""The certified Lasso beside scikit-learn, celer, skglm, jaxopt and optimistix: one core, float64, one stopping gap.

Claim. 10,000 small problems are solved 5 times as fast as by scikit-learn's `Lasso.fit` in a loop, 10,000 labels of one X 3
times as fast, and 100 large problems at least a third as fast. All 51,200 paths of a Lasso baseline of in-context learning take
under a minute. Objectives are celer's to 1e-9, and derivatives by the penalty the closed form's to 1e-10.
Source. Own measurement. scikit-learn: Pedregosa et al. 2011; celer: Massias et al. 2018 (arXiv:1802.07481); skglm: Bertrand et
al. 2022 (arXiv:2204.07826); jaxopt: Blondel et al. 2021 (arXiv:2105.15183); optimistix: Rader et al. 2024 (arXiv:2402.09983),
whose benchmark of unrolled gradients is repeated. Penalties of the baseline: Garg et al. 2022 (arXiv:2208.01066).
How. X from N(0, 1), a tenth or less of the coefficients from N(0, 1), noise 0.1; penalties 0.1 and 0.01 of the largest. Every
contender is a process on the same one core with one thread, float64; they take turns, compiling apart. Of every answer of every
contender the relative gap, beside |y|^2 / 2, is computed anew in NumPy and is at most 1e-6. scikit-learn's and celer's tol is
relative to |y|^2; what stops by another measure has the loosest tolerance, of two a decade, that gives such gaps. "bare" is
scikit-learn's loop without an estimator or checks. Some solve the first problems alone; their number is said, and time is a
problem's. A ratio is of one round, of our fastest method and their fastest estimator; the median is claimed, at the worse
penalty, with the range of the rounds. Prefixes: no noise, all cores, ours alone; scikit-learn's time is a subset's, multiplied.
Expected. 5, 3, 1/3; 60 s; 1e-9; 1e-10.
Command. python -m experiments speed.lasso --preset quick (needs the extra `speed`)
"""

from dataclasses import replace

import numpy as np

from experiments.common import Results, Run
from experiments.speed.lasso.agreement import beside_celer
from experiments.speed.lasso.claims import claims as claims
from experiments.speed.lasso.config import Config
from experiments.speed.lasso.contenders import field_of, missing
from experiments.speed.lasso.diabetes import derivatives, path
from experiments.speed.lasso.figure import plot as plot
from experiments.speed.lasso.problems import CASES, PENALTIES
from experiments.speed.lasso.table import table as table
from experiments.speed.processes import in_turns, state

COST = {"smoke": "10 s", "quick": "12 min"}
PRESETS = {
    "smoke": Config(parts=("path", "derivatives"), peers=()),
    "quick": Config(),
}


def run(config: Config, run: Run) -> Results:
    """All parts that the config asks for, beside those that are installed."""
    absent = missing(config.peers)
    if absent:
        run.console.print(f"{' and '.join(absent)} cannot be found and are left out; pip install '.[speed]' brings them.")
    config = replace(config, peers=tuple(name for name in config.peers if name not in absent))
    results: Results = {}
    if "times" in config.parts:
        for name in config.cases:
            results |= times(name, config, run)
    if "prefixes" in config.parts:
        with run.stage(f"all prefixes of {config.prompts} prompts"):
            job = {"part": "prefixes", "prompts": config.prompts, "subset": config.prompts_subset, "rounds": 3}
            results |= measured("prefixes", job) | {"prefixes/prompts": np.array([config.prompts, config.prompts_subset])}
    if "agreement" in config.parts and "celer" in config.peers:
        with run.stage("objectives and supports beside celer's"):
            results |= beside_celer(config.repeats)
    if "path" in config.parts:
        with run.stage("the path of the diabetes table"):
            results |= path()
    if "derivatives" in config.parts:
        with run.stage("derivatives by the penalty"):
            results |= derivatives(config.peers)
    if "unrolled" in config.parts:
        with run.stage(f"gradients through at most {config.steps} steps"):
            job = {"part": "unrolled", "steps": config.steps, "rounds": min(3, config.rounds), "peers": config.peers}
            results |= measured("unrolled", job) | {"unrolled/steps": np.array(config.steps)}
    return results


def times(name: str, config: Config, run: Run) -> Results:
    """One case: seconds a problem (penalties, rounds, contenders), and what every contender says of itself."""
    field = field_of(name, config.peers)
    counts = [min(CASES[name].problems, config.count if name in one.all else config.subset) for one in field]
    seconds, said = [], []
    for share in PENALTIES:
        jobs = [one.job(CASES[name]._replace(problems=count), share) for one, count in zip(field, counts, strict=True)]
        clock = in_turns(f"{name} at {share:g}", jobs, config.rounds, config.seconds, run)
        seconds.append(clock.seconds / np.array(counts))
        said.append([[itself[key] for key in ("tolerance", "gap", "first")] for itself in clock.itself])
    tolerance, gap, first = np.moveaxis(np.array(said), -1, 0)
    return {
        f"{name}/names": np.array([one.name for one in field]),
        f"{name}/families": np.array([one.family for one in field]),
        f"{name}/counts": np.array(counts),
        f"{name}/seconds": np.array(seconds),
        f"{name}/tolerance": tolerance,
        f"{name}/gap": gap,
        f"{name}/first": first,
    }


def measured(prefix: str, job: dict[str, object]) -> Results:
    """What a process says of one part."""
    return {f"{prefix}/{name}": np.array(value) for name, value in state({"side": "lasso"} | job).items()}
