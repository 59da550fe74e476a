"""The sizes of a run."""

from dataclasses import dataclass

from experiments.sparse_recovery import config as sparse

MODELS = (
    "in-context-alista",
    "in-context-alista-branches",
    "in-context-alista-any-n",
    "small-tf",
    "small-tf-random",
)


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = MODELS  # the models that are made
    d: int = 20  # coefficients
    n: int = 10  # measurements
    longest: int = 40  # measurements, where their number varies
    sparsity: int = 3  # coefficients that are not zero
    depth: int = 12  # steps, and layers
    steps: int = 3000  # of training in-context ALISTA
    batch: int = 512  # signals a step
    test: int = 20_000  # signals
    by_length: int = 2000  # signals for every number of measurements
    transformers: str = ""  # a run's folder of sparse_recovery.at_length; empty: the weights that ship

    def __post_init__(self) -> None:
        sparse.check(self, MODELS)

    @property
    def solvers(self) -> sparse.Config:
        """The same sizes as the experiment on solvers has them."""
        names = ("d", "n", "longest", "sparsity", "depth", "steps", "batch")
        return sparse.Config(**{name: getattr(self, name) for name in names})
