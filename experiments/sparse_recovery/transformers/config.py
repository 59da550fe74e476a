"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from experiments.sparse_recovery.config import check
from jaxl2o.checks import require

# of the repetitions: their trainings, the solvers' trainings on, their test signals; then fits of read-outs, and random starts
TRAINING, LONGER, TEST = (0, 1, 2, 3, 4), (1, 2, 3, 4, 5), (60, 61, 62, 63, 64)
FIT, RANDOM = 7, 8
SEEDS = (*sorted({*TRAINING, *LONGER}), FIT, RANDOM, *TEST)
PARTS = ("theorem", "random", "support", "structure", "shapes")
NETWORKS = ("Small TF", "GPT-2")


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured
    d: int = 20  # coefficients
    n: int = 10  # measurements
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # layers and steps
    repetitions: int = 5  # of all trainings from the theorem, each with its own seed
    solver_steps: int = 3000  # of training a solver, before the theorem is filled with it
    solver_batch: int = 512  # signals a step
    steps: int = 600  # of training the filled Transformer; solvers are trained on for the same time
    batch: int = 256  # signals a step
    rate: float = 1e-5  # Adam's, after the first steps; cosine to zero
    networks: tuple[str, ...] = NETWORKS  # which are trained from a random start
    random_steps: int = 20_000  # of training each of them
    random_batch: int = 64  # prompts a step
    random_rate: float = 1e-3  # Adam's, after the first steps; cosine to zero
    supports: tuple[int, ...] = (5, 10, 15)  # signals that live in the first so many coordinates
    support_steps: int = 200  # of training the filled Transformer on each of them, on blocks, and on noise
    noise: float = 0.2  # deviation, where there is noise
    small_d: int = 8  # coefficients, where heads and read-outs are compared
    small_depth: int = 4  # layers there
    small_steps: int = 3000  # of training each of them
    small_rate: float = 2e-3  # Adam's there
    heads: tuple[int, ...] = (1, 2, 4, 8)
    test: int = 20_000  # test signals of each repetition
    fitted: int = 20_000  # signals on which read-outs are fitted

    def __post_init__(self) -> None:
        check(self, PARTS)
        most = len(TRAINING)
        require(self.repetitions <= most, f"repetitions is {self.repetitions}; there are seeds for {most}.")
        least = min((self.d, *self.supports))
        require(self.sparsity <= least, f"sparsity is {self.sparsity}, but some signals have only {least} coordinates.")
        unknown = ", ".join(sorted(set(self.networks) - set(NETWORKS)))
        require(not unknown, f"there is no network {unknown}; choose among {', '.join(NETWORKS)}.")
        require(self.d % 4 == 0 or "structure" not in self.parts, f"d is {self.d}; blocks of 4 must tile it.")
        require(max(self.supports) <= self.d, f"supports are {self.supports}; there are only {self.d} coordinates.")
