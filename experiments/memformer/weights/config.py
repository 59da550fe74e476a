"""The sizes of a run."""

from dataclasses import dataclass

from experiments.memformer.config import Sizes
from experiments.memformer.published.forms import FORMS
from jaxl2o.checks import require

ALONE = ("no memory", "GD++, no memory")  # forms of linear self-attention
REMEMBERING = ("momentum", "Hadamard", "GD++, Hadamard, of the past")  # of Memformers


@dataclass(frozen=True)
class Config(Sizes):
    """The sizes of a run. depth: of Memformers.  test: prompts of each validation seed."""

    alone: int = 6  # layers of linear self-attention
    forms: tuple[str, ...] = (*ALONE, *REMEMBERING)  # that are trained
    seeds: int = 3
    steps: int = 10_000
    test: int = 100_000
    tested: int = 50_000  # signals of each test

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = ", ".join(sorted(set(self.forms) - set(FORMS)))
        require(not unknown, f"there is no form {unknown}; choose among {', '.join(FORMS)}.")
        for own in (ALONE, REMEMBERING):
            require(bool(set(own) & set(self.forms)), f"forms are {self.forms}; take at least one of {', '.join(own)}.")
