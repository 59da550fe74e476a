"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from jaxl2o.checks import require

# of trainings; of test prompts; of fits on few prompts; of the sweep; of the rotations and of the starts, one for each training
TRAINING, TEST, FEW, SWEPT, ROTATION, START = (0, 1, 2, 3, 4), (80, 81, 82, 83, 84), 85, 86, 87, 88
PARTS = ("limits", "descent", "exact", "variance", "mixture", "few", "laws", "sweep")
DEVIATIONS = (1.0, 1.0, 0.5, 0.25, 1.0)  # of the paper's inputs, before their rotation


@dataclass(frozen=True)
class Sizes:
    """Of all trainings and tests on fresh prompts, here and where they stand beside the published ones."""

    n: int = 20  # examples of a prompt
    depth: int = 4  # layers
    seeds: int = 5  # of every training
    steps: int = 3000  # of training
    batch: int = 256  # prompts a step
    test: int = 1_000_000  # prompts of each seed

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int):
                require(value >= 1, f"{name} is {value}; it must be at least 1.")
        require(self.seeds <= len(TRAINING), f"{self.seeds} seeds are asked; there are {len(TRAINING)}.")
        require(self.depth <= 5, f"depth is {self.depth}; exact losses are in double precision, which has the digits up to 5.")


@dataclass(frozen=True)
class Config(Sizes):
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured
    network_batch: int = 512  # prompts a step where the Transformer itself is trained
    variances: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)  # of inputs and of solutions
    fitted: int = 1000  # labelled prompts on which gates are fitted
    fits: int = 500  # steps of fitting them
    nodes: int = 120  # of the quadrature over a component's inputs, along each of two axes
    prompts: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000, 10_000)  # of training sets
    repeats: int = 200  # training sets of each size
    lengths: tuple[int, ...] = (10, 20, 40)  # examples, where coefficients meet other laws
    conditions: tuple[int, ...] = (1, 4, 16)  # of covariances there
    swept: int = 1000  # trainings of the sweep
    swept_steps: int = 100  # of each of them
    swept_batch: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = ", ".join(sorted(set(self.parts) - set(PARTS)))
        require(not unknown and len(self.parts) > 0, f"parts are {self.parts}; choose among {', '.join(PARTS)}.")
        require(self.swept % 50 == 0, f"swept is {self.swept}; the grid has 10 rates and 5 covariances, so 50 must divide it.")
