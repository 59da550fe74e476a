"""What the results say: NMSE after all steps on test signals, beside what was published or asked of it."""

from collections.abc import Callable, Sequence

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.l2o_benchmark.figure import settings_of
from experiments.l2o_benchmark.methods import PLAN
from experiments.l2o_benchmark.problems import SEEDS


def claims(results: Results) -> list[Claim]:
    """Those of the settings that were run."""
    published = "Behrens et al. 2021, published logs"

    def nmse(id: str, name: str, title: str, expected: float, source: str = "own measurement") -> Claim:
        value, low, high = (float(number) for number in results[f"{name}/{title}/nmse"])
        return claim(
            f"l2o/{id}",
            f"{title}, {name}: NMSE on test signals, ratio of sums",
            value,
            "<=",
            expected,
            n=int(results[f"{name}/{title}/signals"]),
            seeds=SEEDS,
            kind="measured" if source == "own measurement" else "published",
            source=source,
            interval=(low, high),
            unit="dB",
        )

    def same(id: str, title: str, expected: float) -> Claim:
        return nmse(id, "40 dB", title, expected, published)._replace(relation="=", tolerance=0.2)

    def per_signal(id: str, title: str, expected: float) -> Claim:
        mean, half, _ = (float(number) for number in results[f"Open-L2O/{title}/own"])
        text = f"{title}, noiseless, 256 x 512: mean over test signals of their own NMSE"
        return nmse(id, "Open-L2O", title, expected)._replace(claim=text, measured=mean, interval=(mean - half, mean + half))

    gains = [value for key, value in results.items() if key.endswith("/gain error")]
    found = [
        claim(
            "l2o/analytic-weights-gain",
            "largest |(W X)_ii - 1| of the closed form of ALISTA's weights, in float64",
            float(np.max(gains)),
            "<=",
            1e-10,
            n=len(gains),
            seeds=SEEDS[:1],
            kind="theorem",
            source="Liu et al. 2019 (ICLR), whose constraint it is",
        )
    ]
    if "40 dB" in settings_of(results):
        found += [
            same("fista16-40db", "FISTA", -7.6),
            same("ista16-40db", "ISTA", -5.8),
            nmse("alista16-40db-485steps", "40 dB", "ALISTA, 485 steps", -40.5),
            nmse("alista16-40db", "40 dB", "ALISTA", -41.0),
            nmse("na-alista16-40db", "40 dB", "NA-ALISTA", -42.2, published),
            *best(results, nmse, "40 dB", -43.0),
        ]
    if "20 dB" in settings_of(results):
        found += best(results, nmse, "20 dB", -21.8)
    if "small" in settings_of(results):
        title = best_of(results, "small", PLAN["small"])
        ista = float(results["small/ISTA/nmse"][0])
        found.append(nmse("small", "small", title, ista)._replace(claim=f"the smoke preset: {title} is not above ISTA"))
    if "Open-L2O" in settings_of(results):
        found += [per_signal("lista-cp-noiseless", "LISTA-CP", -30.0), per_signal("lista-cpss-noiseless", "LISTA-CPSS", -45.0)]
    return found


def best(results: Results, nmse: Callable[[str, str, str, float], Claim], name: str, expected: float) -> list[Claim]:
    """Of all methods, and of those that do not know the law of the signals."""

    def found(id: str, among: str, titles: Sequence[str]) -> Claim:
        title = best_of(results, name, titles)
        measured = nmse(f"{id}-{name.replace(' ', '').lower()}", name, title, expected)
        return measured._replace(claim=f"best on validation signals at {name}{among}, {title}: NMSE")

    ignorant = [title for title in PLAN[name] if not title.endswith("prior known")]
    return [found("best16", "", PLAN[name]), found("best-learned16", " without the prior", ignorant)]


def best_of(results: Results, name: str, titles: Sequence[str]) -> str:
    """The method of least NMSE on validation signals."""
    return min(titles, key=lambda title: results[f"{name}/{title}/validation curve"][-1])
