"""The sizes of a run, and its methods."""

from dataclasses import dataclass

from experiments.sparse_recovery import config as sparse
from jaxl2o.checks import require

BAYES, SMALL_TF, RANDOM = "Bayes", "Small TF, from the theorem", "Small TF, random start"
# title -> the model that ships
SHIPPED = {
    "in-context ALISTA": "in-context-alista",
    "in-context ALISTA, any n": "in-context-alista-any-n",
    "in-context ALISTA, branches": "in-context-alista-branches",
    SMALL_TF: "small-tf",
    RANDOM: "small-tf-random",
}
METHODS = (BAYES, "minimum norm", "FISTA", "FISTA, 400 steps", "LISTA-VM", *SHIPPED)


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = METHODS  # the methods that are measured
    d: int = 20  # coefficients, for which models ship
    n: int = 10  # measurements where there are most test signals, and where penalties are chosen
    longest: int = 40  # measurements of the longest prompt
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # steps of LISTA-VM and of the short FISTA
    steps: int = 3000  # of training LISTA-VM
    batch: int = 512  # signals a step
    validation: int = 2000  # signals
    signals: int = 4000  # test signals of a method for every number of measurements
    few: int = 1000  # the first of them, for Small TF from the theorem and for the Bayes estimate, which take longest
    test: int = 20_000  # signals of each method at n

    def __post_init__(self) -> None:
        sparse.check(self, METHODS)
        require(self.n <= self.longest, f"n is {self.n}, but the longest prompt has {self.longest} measurements.")
        require(self.few <= self.signals, f"few is {self.few}; it must be at most signals, which is {self.signals}.")

    @property
    def solvers(self) -> sparse.Config:
        """The same sizes as the experiment on solvers has them."""
        names = ("d", "n", "longest", "sparsity", "depth", "steps", "batch", "validation")
        return sparse.Config(**{name: getattr(self, name) for name in names})
