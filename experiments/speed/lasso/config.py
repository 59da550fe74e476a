"""What is measured, and for how long."""

from dataclasses import dataclass

from experiments.speed.lasso.problems import CASES
from jaxl2o.checks import require

PARTS = ("times", "prefixes", "agreement", "path", "derivatives", "unrolled")
PEERS = ("celer", "skglm", "jaxopt", "optimistix")


@dataclass(frozen=True)
class Config:
    """Which parts, beside whom, on how many problems."""

    parts: tuple[str, ...] = PARTS
    cases: tuple[str, ...] = tuple(CASES)
    peers: tuple[str, ...] = PEERS  # beside scikit-learn; those that are not installed are left out
    count: int = 10_000  # problems of a case, at most, for those that solve all
    subset: int = 200  # problems of a case, at most, for the others
    rounds: int = 5  # turns of every contender
    seconds: float = 0.3  # of one turn, at least one time
    prompts: int = 1280  # whose prefixes are solved
    prompts_subset: int = 4  # whose prefixes scikit-learn solves
    repeats: int = 10  # problems of every shape, correlation and penalty beside celer
    steps: tuple[int, ...] = (10_000, 100_000)  # that a differentiated loop may take

    def __post_init__(self) -> None:
        for name in ("count", "subset", "rounds", "prompts", "prompts_subset", "repeats"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name, known in (("parts", PARTS), ("cases", tuple(CASES)), ("peers", PEERS)):
            unknown = ", ".join(sorted({*getattr(self, name)} - {*known}))
            require(not unknown, f"{name} has {unknown}; choose from {', '.join(known)}.")
        shown = {"times", "path"} & {*self.parts}
        require(bool(shown), f"parts is {self.parts}; the figure needs times or path among them.")
