"""The sizes of a run, and its seeds."""

from dataclasses import dataclass
from typing import Any

from jaxl2o.checks import require

SEEDS = (0, 1, 2, 30, 31, 32, 33, 7)  # matrices; training; validation; test signals: main, lengths, noise, blocks; the bound
PARTS = ("fresh", "laws", "one", "length", "noise", "blocks", "bound")


def check(config: Any, parts: tuple[str, ...]) -> None:
    """Refuse counts below one, and parts that the experiment does not have."""
    for name, value in vars(config).items():
        if isinstance(value, int):
            require(value >= 1, f"{name} is {value}; it must be at least 1.")
    unknown = ", ".join(sorted(set(config.parts) - set(parts)))
    require(not unknown and len(config.parts) > 0, f"parts are {config.parts}; choose among {', '.join(parts)}.")


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured; "laws" needs "fresh"
    d: int = 20  # coefficients
    n: int = 10  # measurements
    longest: int = 40  # measurements, where their number varies
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # steps of every learned solver
    deeper: int = 16  # steps of one more in-context ALISTA
    noise: float = 0.2  # deviation, where there is noise
    pool: int = 100  # matrices in the pool
    each: int = 500  # signals of each of them
    steps: int = 3000  # of training
    batch: int = 512  # signals a training step
    validation: int = 2000  # signals
    test: int = 100_000  # signals of the main table
    shifted: int = 10_000  # test signals everywhere else
    instances: tuple[int, ...] = (250, 1000, 4000)  # measurements at which the bound is checked
    checked: int = 10_000  # instances of the bound, in all
    fista_steps: int = 400  # of the classical solvers

    def __post_init__(self) -> None:
        check(self, PARTS)
        require("laws" not in self.parts or "fresh" in self.parts, "the part laws tests what fresh trains; ask for both.")
        require(self.sparsity <= self.d, f"sparsity is {self.sparsity}; there are only {self.d} coefficients.")
        require(self.d % 4 == 0, f"d is {self.d}; blocks of 4 must tile it.")
