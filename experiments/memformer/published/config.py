"""The sizes of a run."""

from dataclasses import dataclass

from experiments.memformer.config import Sizes
from jaxl2o.checks import require

PANELS = ("1a", "1b", "2a", "2b", "accelerated", "moving", "few", "extracted", "scales", "mixture")


@dataclass(frozen=True)
class Config(Sizes):
    """The sizes of a run."""

    panels: tuple[str, ...] = PANELS  # what is measured
    prompts: int = 1000  # of a training set, all of which are in every step
    first_steps: int = 1000  # of the code's first stage, on 1000 prompts that are drawn anew every hundred steps
    own_steps: int = 1000  # of training on such a set
    sets: tuple[int, ...] = (10, 50, 100, 1000)  # training sets of the extracted method, in prompts
    long_steps: int = 5000  # of training it, but on the smallest set
    expert_steps: int = 500  # of training an expert
    fits: int = 1000  # steps of fitting gates
    mixture_steps: int = 300  # of training an expert of the mixture
    mixture_fits: int = 5000  # steps of fitting its gates
    variances: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)  # of inputs and of solutions

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = ", ".join(sorted(set(self.panels) - set(PANELS)))
        require(not unknown and len(self.panels) > 0, f"panels are {self.panels}; choose among {', '.join(PANELS)}.")
        require(self.first_steps > 100, f"first_steps is {self.first_steps}; the last hundred have no effect: at least 101.")
        require(min(self.sets) >= 1, f"sets are {self.sets}; a training set has at least one prompt.")
