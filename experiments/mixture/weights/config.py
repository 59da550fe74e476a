"""The sizes of a run."""

from dataclasses import dataclass, fields

from experiments.mixture.methods import CHUNK
from experiments.mixture.trained import config as trained
from jaxl2o.checks import require


@dataclass(frozen=True)
class Config:
    """The sizes of a run; what they mean for the training, `mixture.trained` says."""

    d: int = 8
    ratios: tuple[int, ...] = (1, 5, 10)  # of signal to noise
    lengths: tuple[int, ...] = (16, 32, 64, 128)  # examples
    width: int = 64
    depth: int = 4
    heads: int = 4
    short: int = 32
    steps: tuple[int, int] = (10_000, 2000)
    batch: int = 32
    queries: int = 128
    test: int = 1000  # signals of each test
    em_steps: int = 50
    starts: int = 32

    def __post_init__(self) -> None:
        require(self.network.seeds == 1, "one network is trained, for one ships.")
        require(
            self.test >= 1 and self.test % CHUNK == 0,
            f"test is {self.test}; signals are answered in chunks, so it must be a multiple of {CHUNK}.",
        )

    @property
    def network(self) -> trained.Config:
        """The same sizes as the experiment on trained encoders has them."""
        shared = {field.name for field in fields(trained.Config)} & {field.name for field in fields(self)} - {"test"}
        return trained.Config(**{name: getattr(self, name) for name in sorted(shared)}, seeds=1)
