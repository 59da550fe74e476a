"""The claims: our arithmetic beside what the compiler counts, a state that exists, and steps that were timed."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results

SOURCE = "the formulas of jaxl2o/training/budget.py"


def claims(results: Results) -> list[Claim]:
    """Of all checked trainings, the ratio farthest from one; of the sums over devices, plain and in pairs."""
    names = [str(name) for name in results["checked"]]
    ratios = np.array([results[f"ratios/{name}"] for name in names]).reshape(-1, 3)
    found = []
    if names:
        flops, activation, state = (farthest(column) for column in ratios.T)
        found = [
            exact("pod/state-bytes", "bytes of parameters and Adam over those of a state", state, len(names)),
            ratio("pod/flops-over-xla", "model FLOP of a gradient over the compiler's count", flops, 0.1, len(names)),
            factor(
                "pod/activations-over-xla",
                "bytes of activations and those planned, the greater over the less",
                activation,
                len(names),
            ),
        ]
    if "groups" in results:
        groups, planned = results["groups"]
        text = f"bytes that the compiler plans for a step of {groups:.0f} groups of tasks over ours, a wide model in small"
        found.append(ratio("pod/groups-memory-over-plan", text, planned, 0.25, 1))
    if "communication" in results:
        devices, plain, paired = results["communication"]
        text = f"bytes sent over those of the compiled step's sums over {devices:.0f} devices"
        found.append(exact("pod/communication-over-compiled", text, plain, 1))
        found.append(exact("pod/communication-in-groups", f"{text}, tasks in groups", paired, 1))
    if "communication, cut" in results:
        devices, plain, paired = results["communication, cut"]
        text = f"bytes sent over those of the compiled step, parameters cut among {devices:.0f} devices"
        found.append(ratio("pod/communication-fsdp", text, plain, 1e-5, 1))
        found.append(ratio("pod/communication-fsdp-in-groups", f"{text}, tasks in groups", paired, 1e-5, 1))
    if len(results.get("timed/seconds", ())):
        ratios = results["timed/seconds"] / results["timed/planned"]
        text = "seconds of a step on one H100 over those planned, the worst of the timed models and batches"
        worst = float(ratios.max())
        found.append(
            claim("pod/h100-step-over-plan", text, worst, "<=", 2.0, n=len(ratios), seeds=(0,), kind="ratio", source=SOURCE)
        )
    return found


def farthest(ratios: np.ndarray) -> float:
    """The ratio whose logarithm is the greatest in absolute value."""
    return float(ratios[np.argmax(np.abs(np.log(ratios)))])


def exact(id: str, text: str, measured: float, n: int) -> Claim:
    """A ratio that is one by counting."""
    return Claim(id, text, SOURCE, "theorem", "=", 1.0, 0.0, float(measured), None, n, (0,), "")


def factor(id: str, text: str, measured: float, n: int) -> Claim:
    """A ratio that is within a factor of two, either way."""
    either = max(measured, 1.0 / measured)
    return Claim(id, text, SOURCE, "measured", "<=", 2.0, 0.0, either, None, n, (0,), "")


def ratio(id: str, text: str, measured: float, tolerance: float, n: int) -> Claim:
    """A ratio that the compiler's own choices move."""
    return Claim(id, text, SOURCE, "measured", "=", 1.0, tolerance, float(measured), None, n, (0,), "")
