"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from jaxl2o.checks import require

# of prompts for constructions; of prompts for linear attention, and its start; of rows; of Bayes' prompts, and its chains; of
# slopes, and their bootstrap; of splits of tables
EXACT, ATTENTION, START, ROWS, BAYES, CHAINS, SLOPES, RESAMPLES, SPLITS = 120, 121, 122, 123, 124, 125, 126, 127, 128
PARTS = ("exact", "attention", "rows", "bayes", "slopes", "tables")


@dataclass(frozen=True)
class Config:
    """The sizes of a run. A ratio of signal to noise is |b| / sigma, the inverse of the noise for components of norm one."""

    parts: tuple[str, ...] = PARTS  # what is measured
    prompts: int = 8  # on which the symmetric construction is compared with gradient EM
    cells: tuple[int, ...] = (75, 150, 300, 600)  # of its curves
    em_steps: int = 8  # of EM there
    general_prompts: int = 2  # the same for three components
    general_cells: tuple[int, ...] = (100, 200, 400, 800)
    general_em_steps: int = 5
    inner_steps: int = 25  # of descent in every step of gradient EM
    inner: tuple[int, ...] = (25, 100, 400, 1600)  # where gradient EM is compared with EM
    flow_steps: int = 100_000  # of Runge and Kutta's method
    attention_lengths: tuple[int, ...] = (10, 20, 40, 80)  # examples, where linear attention's risk is measured
    drawn: int = 400_000  # prompts of every length there
    counts: tuple[int, ...] = (2, 3, 5)  # components, of the rows
    ratios: tuple[int, ...] = (1, 5, 10)  # of signal to noise
    lengths: tuple[int, ...] = (64, 128, 256, 512)  # examples
    d: int = 32  # features
    repeats: int = 400  # prompts of every row
    row_steps: int = 20  # of EM
    starts: int = 4  # that restarted EM and EM from the spectral subspace try
    trial_steps: int = 8  # of EM for every try
    bayes_prompts: int = 200  # of every length, for the posterior mean
    bayes_lengths: tuple[int, ...] = (16, 24, 32, 64)
    bayes_ratios: tuple[int, ...] = (1, 5, 10)
    chains: int = 64  # of Gibbs
    annealing: int = 400  # sweeps of annealing
    sweeps: int = 50  # sweeps afterwards
    slope_lengths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192)  # examples of the slopes
    slope_ratios: tuple[float, ...] = (0.2, 0.5, 1.0, 5.0, 10.0)
    slope_repeats: int = 200
    slope_steps: int = 5000  # of EM, at most
    network_lengths: tuple[int, ...] = (128, 512, 2048)  # examples, where the Transformer stands on the same axes
    network_ratios: tuple[float, ...] = (1.0, 5.0)
    network_repeats: int = 4
    splits: int = 20  # of every table
    network_splits: int = 5  # of them, the first ones, on which the Transformer is tried

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int):
                require(value >= 1, f"{name} is {value}; it must be at least 1.")
            if isinstance(value, tuple) and name != "parts":
                require(len(value) > 0 and min(value) > 0, f"{name} are {value}; they must be positive, and at least one.")
        unknown = ", ".join(sorted(set(self.parts) - set(PARTS)))
        require(not unknown and len(self.parts) > 0, f"parts are {self.parts}; choose among {', '.join(PARTS)}.")
        require(self.repeats >= 2, f"repeats is {self.repeats}; a standard error needs at least 2.")
        require(
            set(self.network_lengths) <= set(self.slope_lengths) and set(self.network_ratios) <= set(self.slope_ratios),
            "the Transformer is drawn on the axes of the slopes; choose its lengths and ratios among theirs.",
        )
        require(
            self.network_splits <= self.splits,
            f"network_splits is {self.network_splits}; they are among the {self.splits} splits.",
        )
        require(
            self.network_repeats <= self.slope_repeats,
            f"network_repeats is {self.network_repeats}; its prompts are among the {self.slope_repeats} of the slopes.",
        )
