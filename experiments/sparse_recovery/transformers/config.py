"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from experiments.sparse_recovery.config import check
from jaxl2o.checks import require

# of the repetitions: their trainings, the solvers' trainings on, their test signals; then fits of read-outs, and random starts
TRAINING, LONGER, TEST = (0, 1, 2, 3, 4), (10, 11, 12, 13, 14), (70, 71, 72, 73, 74)
FIT, RANDOM = 7, 8
SEEDS = (*TRAINING, *LONGER, FIT, RANDOM, *TEST)
PARTS = ("theorem", "random", "support", "structure", "shapes")
NETWORKS = ("Small TF", "GPT-2")


@dataclass(frozen=True)
class Start:
    """A network that is trained from a random start."""

    network: str
    n: int  # measurements of its longest prompt; it is asked after all of them and after any fewer
    steps: int  # of training

    def __post_init__(self) -> None:
        require(self.network in NETWORKS, f"there is no network {self.network!r}; choose among {', '.join(NETWORKS)}.")
        require(min(self.n, self.steps) >= 1, f"{self} is given; a prompt needs a measurement, and a training a step.")


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
    starts: tuple[Start, ...] = (Start("Small TF", 10, 20_000), Start("Small TF", 40, 6000), Start("GPT-2", 10, 1500))
    lengths: tuple[int, ...] = (10, 20, 40)  # measurements at which what all layers of them answer is tested
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
    asked: int = 4000  # test signals of networks from a random start, which have long prompts; a quarter of them a length
    fitted: int = 5000  # signals on which read-outs are fitted

    def __post_init__(self) -> None:
        check(self, PARTS)
        most = len(TRAINING)
        require(self.repetitions <= most, f"repetitions is {self.repetitions}; there are seeds for {most}.")
        least = min((self.d, *self.supports))
        require(self.sparsity <= least, f"sparsity is {self.sparsity}, but some signals have only {least} coordinates.")
        titles = [(start.network, start.n) for start in self.starts]
        require(len(set(titles)) == len(titles), f"starts are {titles}; each of them may stand there once.")
        require(self.d % 4 == 0 or "structure" not in self.parts, f"d is {self.d}; blocks of 4 must tile it.")
        require(max(self.supports) <= self.d, f"supports are {self.supports}; there are only {self.d} coordinates.")
