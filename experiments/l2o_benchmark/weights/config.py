"""The sizes of a run."""

from dataclasses import dataclass

from experiments.l2o_benchmark.problems import SETTINGS
from jaxl2o.checks import require


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    setting: str = "40 dB"  # of the benchmark
    depth: int = 16  # steps of every method
    batch: int = 256  # signals a training step
    steps: int = 1000  # of training ALISTA, on one matrix and on new ones
    adaptive: int = 8000  # of training NA-ALISTA
    validation: int = 256  # signals
    test: int = 1000  # signals of each test
    lasso_steps: int = 400  # of FISTA

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(name == "setting" or value >= 1, f"{name} is {value}; it must be at least 1.")
        require(self.setting in SETTINGS, f"there is no setting {self.setting}; choose among {', '.join(SETTINGS)}.")
