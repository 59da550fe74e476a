"""What the results say of the paper's protocol and of the sound one."""

import numpy as np

from experiments.claims import Claim, claim
from experiments.common import Results
from experiments.memformer.claims import REACHED, level
from experiments.memformer.config import TEST, TRAINING
from experiments.memformer.published.figure import ACCELERATED, over_seeds

DUTTA = "Dutta and Sra 2024 (arXiv:2410.07263), read off a figure"
READ = 0.04  # nats: what a figure is read to, and what a thousand prompts differ from all


def claims(results: Results) -> list[Claim]:
    """Those of the panels that were run; of four layers."""
    found = [
        claim(
            "memformer/published-forms-gap",
            "largest relative gap of the fast forms, and of gated experts, to the Transformers they are, float64",
            float(results["gap/forms"].max()),
            "<=",
            1e-10,
            n=results["gap/forms"].size,
            seeds=TEST[:1],
            kind="theorem",
            source="a proposition of this library",
        ),
    ]
    if len(results["limit/rotated"]) != 4:
        return found
    found += [of_published(results, title) for title in ACCELERATED]
    found.append(of_tuning(results))
    if "2a/Hadamard/own/loss" in results:
        found.append(of_own_prompts(results, "own-flatters-hadamard", "2a/Hadamard", "with a Hadamard memory"))
    if "moving/GD++, no memory/own/loss" in results:
        found.append(of_own_prompts(results, "own-flatters-moving", "moving/GD++, no memory", "whose inputs move (GD++)"))
    if "few/10 prompts/own/loss" in results:
        found.append(of_own_prompts(results, "own-flatters-few", "few/10 prompts", "trained on ten prompts"))
    if "extracted/10 prompts/own/loss" in results:
        alone = "trained on ten prompts apart from a Transformer, as a method"
        found.append(of_own_prompts(results, "own-flatters-extracted", "extracted/10 prompts", alone))
    if "1b/momentum/sound/loss" in results:
        found.append(of_sound_training(results))
    if "2b/Hadamard/sound/loss" in results:
        found.append(of_isotropic_memory(results))
    if "scales/own" in results:
        found.append(of_gates(results))
    return found


def of_published(results: Results, title: str) -> Claim:
    """The exact losses of a method that is not trained are those that the paper shows."""
    gaps = np.log(results[f"{title}, as published"]) - np.array(ACCELERATED[title])
    return claim(
        f"memformer/published-{title.lower()}-as-published",
        f"{title} with the paper's numbers: largest difference of its exact log loss and the published one, four depths",
        float(np.abs(gaps).max()),
        "<=",
        READ,
        n=len(gaps),
        seeds=(),
        kind="published",
        source=DUTTA,
        unit="nats",
    )


def of_tuning(results: Results) -> Claim:
    """Momentum's two numbers, tuned for a depth, come near to all scalar coefficients."""
    best = np.log(results["limit/isotropic"])
    return claim(
        "memformer/published-tuned-momentum-over-best",
        "momentum, Sigma^-1 given, two numbers tuned for each depth: largest exact log loss over the best scalar coefficients",
        float((np.log(results["momentum, tuned, preconditioned"]) - best).max()),
        "<=",
        0.02,
        n=len(best),
        seeds=(),
        kind="theorem",
        unit="nats",
    )


def of_own_prompts(results: Results, id: str, key: str, what: str) -> Claim:
    """The prompts that were trained on flatter, by more than their own spread would tell."""
    fresh, own = (np.log(np.asarray(results[f"{key}/{protocol}/loss"], dtype=float)[:, -1]) for protocol in ("fresh", "own"))
    gap = float((fresh - own).mean())
    return claim(
        f"memformer/published-{id}-l4",
        f"as published, four layers {what}: mean log loss on fresh prompts minus that on the prompts trained on",
        gap if np.isfinite(gap) else float("nan"),
        ">=",
        0.5,
        n=len(own),
        seeds=TRAINING,
        interval=over_seeds(fresh - own) if np.isfinite(gap) else None,
        unit="nats",
    )


def of_sound_training(results: Results) -> Claim:
    """How near the paper's Transformer with momentum comes to the best scalars, where every step has fresh prompts."""
    momentum = level(results, "1b/momentum/sound")
    return claim(
        "memformer/published-momentum-sound-l4",
        "four layers with momentum and free scores, condition 16, trained on fresh prompts; published -1.96",
        momentum.value,
        "<=",
        float(np.log(results["limit/isotropic"][-1])) + REACHED,
        n=len(results["1b/momentum/sound/loss"]),
        seeds=(*TRAINING, *TEST),
        interval=momentum.interval,
        unit="nats",
    )


def of_isotropic_memory(results: Results) -> Claim:
    """What a memory gains where inputs are isotropic, seed by seed, every step of both trainings having fresh prompts."""
    plain, remembering = (
        np.log(np.asarray(results[f"2b/{of}/sound/loss"], dtype=float)[:, -1]) for of in ("no memory", "Hadamard")
    )
    gains = plain - remembering
    return claim(
        "memformer/published-isotropic-memory-gain-l4",
        "four layers, isotropic inputs, trained on fresh prompts: log loss without a memory minus that with a Hadamard memory",
        float(gains.mean()),
        "<=",
        READ,
        n=len(gains),
        seeds=(*TRAINING, *TEST),
        interval=over_seeds(gains),
        unit="nats",
    )


def of_gates(results: Results) -> Claim:
    """A gate that reads inputs needs no labels, and no more than one expert."""
    unseen = [place for place, variance in enumerate(results["scales/variances"]) if variance not in (1.0, 2.0, 3.0)]
    gated, fitted = (np.log(results[f"scales/{name}"][:, -1][:, unseen]) for name in ("gated by its inputs", "fresh"))
    gaps = (gated - fitted).mean(axis=1)
    return claim(
        "memformer/published-gated-minus-fitted-l4",
        "one expert gated by its inputs, fresh prompts, log loss minus that of three experts, of three rotations, whose gates "
        "are fitted to labels: mean over unseen variances and seeds",
        float(gaps.mean()),
        "<=",
        0.0,
        n=len(gaps),
        seeds=TRAINING,
        interval=over_seeds(gaps),
        unit="nats",
    )
