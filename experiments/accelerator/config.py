"""The sizes of a run, and its seed."""

from dataclasses import dataclass

from jaxl2o.checks import require

SEED = 0
FEWEST = 3  # calls of which a sweep's median is taken
FAMILIES = (  # a construction of every family
    "gradient-descent",
    "lista-vm",
    "in-context-alista",
    "newton-least-squares",
    "damped-newton",
    "expectation-maximisation",
)
SHAPES = ("small-tf", "small-tf-n40", "gpt2", "gpt2-n40")


@dataclass(frozen=True)
class Config:
    """The sizes of a run, the same on every device."""

    theorems: tuple[str, ...] = FAMILIES  # of `CONSTRUCTIONS`
    prompts: int = 100  # of each of them
    leg: int = 40  # steps before a training moves, on the other device, and after it is back
    shapes: tuple[str, ...] = SHAPES  # of experiments/speed/shapes.py
    depth: int = 12  # their layers
    tokens: int = 2**17  # of an accelerator's large batch, which is a power of two of tasks
    steps: int = 4  # of training in one call of the compiled program
    calls: int = 6  # timed one by one; the first warms up
    unroll: bool = False  # layers compiled one by one: faster steps, and on accelerators minutes of compiling
    counts: tuple[int, ...] = (1, 10, 100, 1000)  # small trainings in one call, the first being the measure
    swept_steps: int = 50  # of each of them
    swept_batch: int = 32

    def __post_init__(self) -> None:
        for name in ("prompts", "leg", "depth", "tokens", "steps", "swept_steps", "swept_batch"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1.")
        require(self.calls >= 2, f"calls is {self.calls}; it must be at least 2, since the first only warms up.")
        for name in self.shapes:
            require(name in SHAPES, f"there is no shape {name!r}; choose from {', '.join(SHAPES)}.")
        require(
            len(self.counts) >= 2 and self.counts[0] == 1 and min(self.counts) >= 1,
            f"counts is {self.counts}; it must be 1, and then numbers of trainings.",
        )
