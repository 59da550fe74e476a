"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from experiments.sparse_recovery.config import check
from experiments.sparse_recovery.transformers import config as transformers

TRAINING, VALIDATION, TEST, RANDOM = 0, 2, 30, 8  # seeds; tests are those of the experiment `sparse_recovery`
SEEDS = (TRAINING, VALIDATION, TEST, RANDOM)
PARTS = ("theorem", "random")


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured
    d: int = 20  # coefficients
    n: int = 10  # measurements
    longest: int = 40  # measurements of a prompt from a random start
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # layers
    solver_steps: int = 3000  # of training the solver that fills the Transformer, 512 signals each
    rates: tuple[float, ...] = (1e-5, 3e-5, 1e-4)  # of Adam, which are tried
    tried: int = 1000  # steps of each try
    steps: int = 40_000  # of training at the best of them
    batch: int = 1024  # signals a step
    random_steps: int = 30_000  # from the random start
    random_batch: int = 256  # prompts a step
    random_rate: float = 1e-3  # of Adam there
    reports: int = 40  # times that the validation error is measured
    validation: int = 20_000  # signals
    test: int = 100_000  # signals
    asked: int = 4000  # test prompts from the random start, a quarter of them a length

    def __post_init__(self) -> None:
        check(self, PARTS)

    @property
    def network(self) -> transformers.Config:
        """The same sizes as the experiment on Transformers has them."""
        names = ("d", "n", "sparsity", "depth", "solver_steps", "batch", "random_batch", "random_rate", "asked")
        lengths = tuple(sorted({self.n, min(2 * self.n, self.longest), self.longest}))
        return transformers.Config(
            **{name: getattr(self, name) for name in names}, lengths=lengths, supports=(self.d,), solver_batch=512
        )
