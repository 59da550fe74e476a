"""What the results say: differences of PSNR on unseen pictures, and the theorem's gap."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.compressed_sensing.figure import data_of
from experiments.compressed_sensing.pictures import psnr, psnr_interval

SEEDS = tuple(range(10))  # of every key of a run: starts, trainings, matrices, tuning, test
CANDIDATES = ("LISTA-VM", "LISTA-VM longer", "in-context ALISTA", "Transformer trained")


def claims(results: Results) -> list[Claim]:
    """Differences of PSNR on the unseen pictures, with bootstrap intervals; the best method was chosen on training patches."""
    return [found for data in data_of(results) for found in claims_of(data, results)]


def claims_of(data: str, results: Results) -> list[Claim]:
    """The claims of one data set."""
    prefix, where, drawn = ("", "the unseen photograph", "its 32 x 32 blocks")
    if data == "digits":
        prefix, where, drawn = ("digits-", "unseen digits", "digits")
    picture, blocks = results[f"{data}/picture_of_patch"], results[f"{data}/blocks"]
    best = max(CANDIDATES, key=lambda title: results[f"{data}/tuning/{title}"])

    def difference(id: str, text: str, title: str, minus: str) -> Claim:
        errors, others = results[f"{data}/errors/{title}"], results[f"{data}/errors/{minus}"]
        return claim(
            f"compressed-sensing/{prefix}{id}",
            f"{text}: PSNR on {where}; interval by bootstrap over {drawn}, of one training",
            psnr(errors, picture) - psnr(others, picture),
            ">=",
            0.0,
            n=len(np.unique(blocks)),
            seeds=SEEDS,
            interval=psnr_interval(errors, picture, blocks, minus=others),
            unit="dB",
        )

    longer = "LISTA-VM trained on for the same time"
    return [
        difference("lista-vm-minus-lasso-db", "LISTA-VM less the converged Lasso", "LISTA-VM", "Lasso"),
        difference("in-context-minus-lista-vm-db", "in-context ALISTA less LISTA-VM", "in-context ALISTA", "LISTA-VM"),
        difference("tf-minus-lista-vm-db", f"the trained Transformer less {longer}", "Transformer trained", "LISTA-VM longer"),
        difference("tf-minus-start-db", "the trained Transformer less its start", "Transformer trained", "Transformer filled"),
        difference("best-minus-lmmse-db", f"{best}, best on training patches, less LMMSE", best, "LMMSE"),
        claim(
            f"compressed-sensing/{prefix}theorem-gap",
            f"largest difference of a pixel between LISTA-VM and the Transformer filled with it, on {where}",
            float(results[f"{data}/theorem_gap"]),
            "<=",
            1e-4,
            n=len(blocks),
            seeds=SEEDS,
            kind="theorem",
            source="Liu et al. 2025, Theorem 4.1",
            unit="grey",
        ),
    ]
