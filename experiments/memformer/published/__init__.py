"""The paper's Memformers twice: trained and tested as published, and on fresh prompts, beside what no fixed method can pass.

Claim. A loss on the thousand prompts that were trained on flatters a Transformer with memory; on fresh prompts, and where
momentum is tuned, what is left of the gain over plain layers at equal depth is what training leaves undone.
Source. Dutta and Sra 2024 (arXiv:2410.07263), text of the first versions, figures and code of the last; limits are this
library's.
How. As `memformer`: d = 5, n = 20, log of the mean squared error at a query. As published: Adam at 1e-2, 1000 steps on one set
of 1000 prompts (other sets where said), loss on that set (dotted) and on 100,000 fresh prompts a seed (dashed), five seeds, mean
of their logarithms; conjugate gradients, momentum and Nesterov's see 19 of the 20 examples, as in the paper's code. Its first
stage, ten steps that its code then discards, is left out. Sound (solid): 3000 steps of 256 fresh prompts, a rate that falls by
a cosine, a million test prompts a seed. Markers: read off the paper's figures, or its printed numbers; of GD++ those of the
run that was tested on its own prompts. Losses of momentum and of Nesterov's are exact, and their best numbers are of each depth.
Expected. Fresh above own, the more so the deeper; GD++ diverges on fresh prompts; tuned momentum at its limit without training.
Command. python -m experiments memformer.published --preset quick
"""

from functools import partial

from experiments.common import Results, Run
from experiments.memformer.published.baselines import baselines
from experiments.memformer.published.claims import claims as claims
from experiments.memformer.published.config import Config
from experiments.memformer.published.experts import mixture, scales
from experiments.memformer.published.figure import plot as plot
from experiments.memformer.published.figure import table as table
from experiments.memformer.published.forms import FORMS, gaps
from experiments.memformer.published.protocols import Case, extracted, measure, network

COST = {"smoke": "20 s", "quick": "1 h", "cpu": "6 h"}
PRESETS = {
    "smoke": Config(panels=("1a",), depth=1, seeds=1, steps=2, batch=4, test=16, prompts=8, own_steps=2, n=6),
    "quick": Config(),
    "cpu": Config(steps=20_000, batch=512, test=5_000_000),
}


def cases_of(config: Config) -> dict[str, dict[str, Case]]:
    """What is trained, by panel: the paper's figures by their numbers, and its other experiments by what they ask."""
    few = partial(network, config, "rotated", sound=False)
    shown = {
        "1a": ("scalar, no memory", "scalar, momentum"),
        "1b": ("no memory", "momentum"),
        "2a": ("Hadamard",),
        "accelerated": ("Hadamard, of the past",),
        "moving": ("GD++, no memory", "GD++, Hadamard, of the past"),
    }
    rotated = {panel: {title: network(config, "rotated", FORMS[title]) for title in titles} for panel, titles in shown.items()}
    return rotated | {
        "2b": {title: network(config, "isotropic", FORMS[title]) for title in ("no memory", "Hadamard")},
        "few": {
            "1 prompt": few(FORMS["scalar, momentum"], 1),
            "10 prompts": few(FORMS["scalar, momentum"], 10),
            "10 prompts, 5 heads": few(FORMS["scalar, momentum, 5 heads"], 10),
        },
        "extracted": {f"{count} prompts": extracted(config, count, count == max(config.sets)) for count in config.sets},
    }


def run(config: Config, run: Run) -> Results:
    """All panels that the config asks for, and the rows of methods that are not trained."""
    results: Results = {}
    gaps(config, run, results)
    baselines(config, run, results)
    for panel, cases in cases_of(config).items():
        if panel in config.panels:
            measure(config, run, results, panel, cases)
    for panel, part in {"scales": scales, "mixture": mixture}.items():
        if panel in config.panels:
            part(config, run, results)
    return results
