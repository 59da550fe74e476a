"""What the results say."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.scale.kills import SEED as KILLED
from experiments.scale.models import SEED


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest relative difference of a loss of the one curve from that of the other."""
    return float(np.abs(one / other - 1.0).max())


def gaps(results: Results) -> dict[str, float]:
    """By model, the gap of the curve that moved between devices."""
    models = [key.split("/")[1] for key in results if key.startswith("elastic/") and key.endswith("/moved")]
    return {model: gap(results[f"elastic/{model}/moved"], results[f"elastic/{model}/alone"]) for model in models}


def survived(results: Results) -> int:
    """Kills after which the training went on from its last save; none, if the end is not that of a run never killed."""
    return int((results["kills/resumed"] == results["kills/saved"]).sum()) if results["kills/same"] else 0


def claims(results: Results) -> list[Claim]:
    """Those of the parts that were run."""
    found: list[Claim] = []
    if "elastic/legs" in results:
        found.append(of_devices(results))
    if "kills/same" in results:
        found += of_kills(results)
    if any(key.startswith("processes/") for key in results):
        found += of_processes(results)
    return found


def of_devices(results: Results) -> Claim:
    """The curve goes on."""
    legs = " -> ".join(str(devices) for devices in results["elastic/legs"])
    steps = sum(len(results[f"elastic/{model}/moved"]) for model in gaps(results))
    text = f"losses of a training on {legs} devices beside one that stays on 1: largest relative difference"
    return claim("scale/elastic-curve-gap", text, max(gaps(results).values()), "<=", 1e-4, n=steps, seeds=(SEED, SEED + 1))


def of_kills(results: Results) -> list[Claim]:
    """All are survived, and some came within a save."""
    count = len(results["kills/saved"])
    text = "kills at random moments after which a training goes on, and in the end has the bytes of one never killed"
    within = "of the same kills, those that came within a save"
    return [
        claim("scale/kills-survived", text, survived(results), "=", count, n=count, seeds=(KILLED,)),
        claim("scale/kills-within-a-save", within, int(results["kills/within"].sum()), ">=", 1, n=count, seeds=(KILLED,)),
    ]


def process_gaps(results: Results, layout: str) -> dict[str, float]:
    """By model, the gap of what each of two processes had from what one had, in a layout."""
    models = [key.split("/")[1] for key in results if key.endswith(f"/{layout}/one")]
    keys = {model: f"processes/{model}/{layout}" for model in models}
    return {model: gap(results[f"{key}/two"], results[f"{key}/one"]) for model, key in keys.items()}


def of_processes(results: Results) -> list[Claim]:
    """Two processes beside one: with groups of tasks, parameters whole or cut; and each taking its share at once."""
    kinds = {
        "scale/two-process-gap": (("groups", "groups, cut"), "in groups of tasks, parameters whole and cut"),
        "scale/two-process-gap-shares": (("shares",), "each with its share of the tasks at once"),
    }
    steps = sum(len(values) for key, values in results.items() if key.endswith("/groups/one"))
    return [
        claim(
            id,
            f"losses of two processes over loopback beside one, {words}: largest relative difference",
            max(found for layout in layouts for found in process_gaps(results, layout).values()),
            "<=",
            1e-4,
            n=steps * len(layouts),
            seeds=(SEED, SEED + 1),
        )
        for id, (layouts, words) in kinds.items()
    ]
