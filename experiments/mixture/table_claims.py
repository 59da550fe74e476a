"""What the results say of mixtures of regressions on real tables."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.intervals import student
from experiments.mixture.config import SPLITS


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean over random halvings of one table (Nadeau and Bengio 2003, Machine Learning 52).

    The variance over J halvings is multiplied by 1 / J + (rows held out) / (rows fitted), since halvings share rows.
    """
    return student(values) * float(np.sqrt(1.0 + len(values)))


def of_tables(results: Results) -> list[Claim]:
    """The Transformer is EM there too; hidden components predict better than none, and are the class, where lines differ."""
    names = ("petals", "wine")
    gaps = np.concatenate([values for name, values in results.items() if name.startswith("tables/") and name.endswith("/gap")])
    likelihoods = [
        values - results[name.replace("Transformer", "mixture")][: len(values)]
        for name, values in results.items()
        if name.endswith("/likelihood/Transformer")
    ]
    found = [
        claim(
            "mixture/tables-transformer-gap",
            "largest |entry of b_t of the Transformer - gradient EM's|, iris and wine, all splits and steps",
            float(gaps.max()),
            "<=",
            2e-3,
            n=len(gaps),
            seeds=(SPLITS,),
            source="Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183)",
        ),
        claim(
            "mixture/tables-transformer-likelihood",
            "largest difference of held-out log-likelihood a row, Transformer's last components and those where EM ended",
            float(np.max(np.abs(likelihoods))),
            "<=",
            0.01,
            n=len(gaps),
            seeds=(SPLITS,),
        ),
    ]
    for name in names:
        models = ("mixture", "one regression", "two constants")
        mixture, one, constants = (results[f"tables/{name}/likelihood/{model}"] for model in models)
        right, majority = (results[f"tables/{name}/right/{model}"] for model in ("mixture", "majority"))
        for id, text, values in (
            (f"{name}-likelihood-gain", "held-out log-likelihood a row, mixture minus one regression", mixture - one),
            (f"{name}-over-constants", "the same minus a mixture of two constants", mixture - constants),
            (
                f"{name}-right-over-majority",
                "held-out rows told right by their component, minus the majority's",
                right - majority,
            ),
        ):
            mean, half = float(values.mean()), half_width(values)
            interval = (mean - half, mean + half)
            what = f"{name}: {text}, mean over halvings; interval by Nadeau and Bengio's correction for rows they share"
            found.append(claim(f"mixture/{id}", what, mean, ">=", 0.0, n=len(values), seeds=(SPLITS,), interval=interval))
    return found
