"""What the results say of the trained models of the experiment on Newton's method."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.intervals import geometric_mean
from experiments.newton.config import TRAINING

MEDIAN = 1  # its place among the quantiles of a distance


def laws(results: Results) -> list[str]:
    """The laws of prompts on which attention was trained."""
    return [name.split("/")[1] for name in results if name.startswith("attention/") and name.endswith("/plain")]


def of_attention(results: Results) -> list[Claim]:
    """What more layers than four, or than all but the last, and the norm bring to trained attention: ratios of errors."""
    layers = results.get("attention/layers", np.array([])).tolist()
    if len(layers) < 2:
        return []
    few = layers.index(4) if 4 in layers[:-1] else len(layers) - 2
    more, less = f"{layers[-1]} layers", f"{layers[few]}"
    found = []
    for law in laws(results):
        name = law.replace(" ", "-")
        plain, norm = (results[f"attention/{law}/{title}"][..., 0] for title in ("plain", "norm"))
        for id, text, ratios in (
            ("deeper", f"error of {more} over that of {less}", plain[-1] / plain[few]),
            ("deeper-with-norm", f"error of {more} over that of {less}, with layer norm", norm[-1] / norm[few]),
            ("norm", f"error with layer norm over that without, {less} layers", norm[few] / plain[few]),
            ("norm-deepest", f"error with layer norm over that without, {more}", norm[-1] / plain[-1]),
        ):
            found.append(of_ratio(f"newton/{id}-{name}", f"trained attention, {law}: {text}", ratios))
    return found


def of_improved(results: Results) -> list[Claim]:
    """Whether training on brings a construction closer to the minimiser: where it was trained to stand, and later."""
    found = []
    for cells in sorted(int(name.split("/")[-1]) for name in results if name.startswith("improved/theorem/")):
        before, after = (results[f"improved/{title}/{cells}"][:, MEDIAN] for title in ("theorem", "trained on"))
        last = before.shape[1] - 1
        text = f"{cells} cells, median distance to the minimiser, trained on over the theorem, after"
        found.append(
            of_ratio(f"newton/improved-{cells}", f"{text} the {last // 2} steps trained", (after / before)[:, last // 2])
        )
        found.append(of_ratio(f"newton/improved-twice-{cells}", f"{text} twice as many", (after / before)[:, last]))
    return found


def of_ratio(id: str, text: str, ratios: np.ndarray) -> Claim:
    """The geometric mean over trainings, one of every seed: the one above the line is better if all of the interval says so."""
    middle, interval = geometric_mean(ratios)
    return claim(
        id,
        f"{text}: geometric mean over seeds {middle:.3g}; measured is the end of Student's interval that is to be below 1",
        interval[1] if interval else float("inf"),
        "<=",
        1.0,
        n=len(ratios),
        seeds=TRAINING[: len(ratios)],
        kind="ratio",
        interval=interval,
    )
