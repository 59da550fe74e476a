"""What the results say of mixtures of regressions."""

from functools import partial

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.mixture.attention import COVARIANCES, PRIORS
from experiments.mixture.comparing import of_bayes, of_rows
from experiments.mixture.config import ATTENTION, EXACT, RESAMPLES, SLOPES, START
from experiments.mixture.table_claims import of_tables

JIN = "Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183)"
KWON = "Kwon, Ho and Caramanis 2021 (arXiv:2006.02601)"
OWN = "a proposition of this library"
CASES = ("two, 1", "two, 5", "three")
NAMED = {"k2": (CASES[:2], 600, 3e-5), "k3": (CASES[2:], 800, 1e-5)}  # cases, cells, and what the gap is to stay below
LOW, HIGH = 0.2, 0.5  # ratios of signal to noise: the low one, and the least of the high ones


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found: list[Claim] = []
    if f"exact/{CASES[0]}/inner" in results:
        found += of_constructions(results)
    if "attention/steps" in results:
        found += of_attention(results)
    if "rows/lengths" in results:
        found += of_rows(results)
    if "bayes/lengths" in results:
        found += of_bayes(results)
    if "slopes/lengths" in results:
        found += of_slopes(results)
    if "tables/petals/gap" in results:
        found += of_tables(results)
    return found


def gap_of(results: Results, case: str, cells: int) -> np.ndarray:
    """(prompts, steps), after the first step and later ones."""
    return results[f"exact/{case}/gap/{cells}"][:, 1:]


def of_constructions(results: Results) -> list[Claim]:
    """Their gaps, how these fall with the width, the bound of one step, and that gradient EM is EM."""
    found = []
    for name, (cases, cells, most) in NAMED.items():
        if all(f"exact/{case}/gap/{cells}" in results for case in cases):
            gaps = np.concatenate([gap_of(results, case, cells) for case in cases])
            text = f"largest |entry of b_t - gradient EM's|, {cells} cells, all prompts and steps, float64"
            found.append(
                claim(f"mixture/em-gap-{name}", text, float(gaps.max()), "<=", most, n=len(gaps), seeds=(EXACT,), source=JIN)
            )
    widths = {case: results[f"exact/{case}/cells"] for case in CASES}
    rates = []
    for case, cells in widths.items():
        first, last = (gap_of(results, case, count).mean() for count in (cells[0], cells[-1]))
        rates.append(float(np.exp(np.log(first / last) / np.log2(cells[-1] / cells[0]))) if len(cells) > 1 else float("nan"))
    once = [
        gap_of(results, case, count)[:, 0].max() / bound
        for case, cells in widths.items()
        for count, bound in zip(cells, results[f"exact/{case}/bound"], strict=True)
    ]
    prompts = sum(len(gap_of(results, case, cells[0])) for case, cells in widths.items())
    common = {"n": prompts, "seeds": (EXACT,), "source": OWN}
    if np.isfinite(rates).all():
        rate = max(rates, key=lambda value: abs(value - 4.0))
        text = "factor by which the mean gap falls when the width doubles: of three cases that farthest from 4"
        found.append(claim("mixture/em-width-rate", text, rate, "=", 4.0, **common)._replace(tolerance=0.5))
    return [
        *found,
        claim(
            "mixture/em-gap-over-bound",
            "largest gap after one step over the theorem's bound of it, all widths",
            float(np.max(once)),
            "<=",
            1.0,
            kind="bound",
            **common,
        ),
        claim(
            "mixture/gradient-em-gap",
            "largest |entry of b_t of gradient EM - EM's|, most descents a step, all prompts and steps, float64",
            float(np.max([results[f"exact/{case}/inner"][-1] for case in CASES])),
            "<=",
            1e-12,
            **common,
        ),
    ]


def of_attention(results: Results) -> list[Claim]:
    """Where flow, descent and Adam end, what flow conserves, and the risk against its closed form."""
    cases = [f"{prior}/{name}" for prior in PRIORS for name in COVARIANCES]
    ends = {
        title: max(float(results[f"attention/{case}/{title}"][-1]) for case in cases) for title in ("flow", "descent", "Adam")
    }
    z = np.stack(
        [(results[f"risk/{case}"][:, 0] - results[f"risk/{case}"][:, 2]) / results[f"risk/{case}"][:, 1] for case in cases]
    )
    own = partial(claim, n=len(cases), seeds=(START,))
    return [
        own(
            "mixture/lsa-flow-gap",
            "one layer of linear attention: largest |u U - A*| / |A*| where gradient flow ends, three covariances, two priors",
            ends["flow"],
            "<=",
            1e-8,
            kind="theorem",
            source=JIN,
        ),
        own(
            "mixture/lsa-flow-conserved",
            "largest drift of u^2 - |U|^2 along that flow",
            max(float(results[f"attention/{case}/flow/drift"]) for case in cases),
            "<=",
            1e-6,
            kind="theorem",
            source=OWN,
        ),
        own(
            "mixture/lsa-descent-gap",
            "the same distance for gradient descent in the flow's steps, and for Adam, whose factors are others",
            max(ends["descent"], ends["Adam"]),
            "<=",
            1e-6,
            source=OWN,
        ),
        claim(
            "mixture/lsa-risk-z",
            "risk of A* on drawn prompts, of the trained length and three others, minus its closed form: largest, in standard "
            "errors",
            float(np.abs(z).max()),
            "<=",
            4.0,
            n=z.size * int(results["risk/prompts"]),
            seeds=(ATTENTION,),
            source=OWN,
        ),
    ]


def slope_of(lengths: np.ndarray, errors: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The slope of log mean error on log n, and its 95 % interval by bootstrap over the prompts of every length."""
    rng, count = np.random.default_rng(RESAMPLES), errors.shape[1]

    def fit(mean: np.ndarray) -> float:
        return float(np.polyfit(np.log(lengths), np.log(mean), 1)[0])

    drawn = [fit(np.array([row[rng.integers(count, size=count)].mean() for row in errors])) for _ in range(1000)]
    return fit(errors.mean(axis=1)), tuple(np.quantile(drawn, (0.025, 0.975)).tolist())


def of_slopes(results: Results) -> list[Claim]:
    """The two rates, how many more steps the low one takes, and the Transformer on the same axes."""
    lengths, ratios = results["slopes/lengths"], results["slopes/ratios"]
    high = [ratio for ratio in ratios if ratio >= HIGH]
    common = {"n": results[f"slopes/{ratios[0]:g}/errors"].size, "seeds": (SLOPES,), "source": KWON}
    found = []
    if len(lengths) > 1:
        fitted = {ratio: slope_of(lengths, results[f"slopes/{ratio:g}/errors"]) for ratio in ratios}
        cases = {"low": [LOW] if LOW in ratios else [], "high": high}
        for (name, own), target in zip(cases.items(), (-0.3, -0.5), strict=True):
            if own:
                worst = max(own, key=lambda ratio, target=target: abs(fitted[ratio][0] - target))
                slope, interval = fitted[worst]
                text = f"slope of log mean |b - b*| on log n, {lengths[0]} to {lengths[-1]} examples, |b| / sigma = {worst:g}"
                text += f" ({100.0 * results[f'slopes/{worst:g}/unfinished'].max():.1f} % of a length not converged at most)"
                text += ", the worst of those from 0.5 on" if name == "high" else ""
                made = claim(f"mixture/slope-{name}-snr", text, slope, "=", target, interval=interval, **common)
                found.append(made._replace(tolerance=0.05))
    if LOW in ratios and high:
        steps = [results[f"slopes/{ratio:g}/steps"][-1, :2] for ratio in (LOW, high[-1])]
        ratio, error = steps[0][0] / steps[1][0], np.hypot(*(own[1] / own[0] for own in steps))
        found.append(
            claim(
                "mixture/slope-steps-ratio",
                f"EM's mean steps to convergence, {lengths[-1]} examples: |b| / sigma = {LOW:g} over {high[-1]:g}",
                float(ratio),
                ">=",
                10.0,
                interval=(float(ratio * (1.0 - 1.96 * error)), float(ratio * (1.0 + 1.96 * error))),
                **common,
            )
        )
    gaps = [values for name, values in results.items() if name.startswith("slopes/network/") and name.endswith("/gap")]
    if gaps:
        found.append(
            claim(
                "mixture/slope-transformer-gap",
                "largest |b_t of the Transformer - gradient EM's| on the prompts of the slopes",
                float(np.max(np.concatenate(gaps))),
                "<=",
                1e-4,
                n=sum(len(values) for values in gaps),
                seeds=(SLOPES,),
                source=JIN,
            )
        )
    return found
