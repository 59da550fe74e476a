"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from experiments.mixture.methods import CHUNK
from jaxl2o.checks import require

# of trainings; of the draws by which the claims' cell is chosen; of test prompts; of chains; of the components that are given
TRAINING, VALIDATION, TEST, CHAINS, GIVEN = (0, 1, 2), 130, (131, 132, 133, 134, 135), 136, 137
PARTS = ("map", "shapes", "counts", "sets")


@dataclass(frozen=True)
class Config:
    """The sizes of a run. A ratio of signal to noise is 1 / sigma, as the mean square norm of a component is one."""

    parts: tuple[str, ...] = PARTS  # what is measured
    d: int = 8  # features
    ratios: tuple[int, ...] = (1, 5, 10)  # of signal to noise
    lengths: tuple[int, ...] = (16, 32, 64, 128)  # examples
    width: int = 64  # of the stream
    depth: int = 4  # layers
    heads: int = 4
    seeds: int = 3  # trainings of the main network
    short: int = 32  # examples of the longest prompt in the first stage of training; in the second it is the longest of all
    steps: tuple[int, int] = (10_000, 2000)  # of both stages
    batch: int = 32  # prompts a step
    queries: int = 128  # noisy labels that a prompt asks in training
    test: int = 200  # prompts of each of five test seeds
    validation: int = 500  # prompts by which the claims' cell is chosen
    em_steps: int = 50  # of EM
    starts: int = 32  # that EM tries
    trial_steps: int = 20  # of EM for every try
    bayes: int = 40  # prompts of each test seed, for the posterior mean
    chains: int = 32  # of Gibbs
    annealing: int = 300  # sweeps of annealing
    sweeps: int = 30  # sweeps afterwards
    ratio: int = 5  # of signal to noise, of the parts that follow
    shape_steps: tuple[int, int] = (2000, 400)  # of both stages of a training
    widths: tuple[int, ...] = (32, 64, 128)
    depths: tuple[int, ...] = (1, 2, 4)
    counts: tuple[int, ...] = (2, 3, 5)  # components
    sizes: tuple[int, ...] = (64, 512, 4096)  # of training sets, in prompts of one label
    set_depths: tuple[int, ...] = (2, 4)  # layers there
    set_seeds: int = 3  # trainings there
    set_steps: int = 1000  # of each of them
    set_test: int = 800  # fresh prompts of each of five test seeds there

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int):
                require(value >= 1, f"{name} is {value}; it must be at least 1.")
            if isinstance(value, tuple) and name != "parts":
                require(len(value) > 0 and min(value) > 0, f"{name} are {value}; they must be positive, and at least one.")
        unknown = ", ".join(sorted(set(self.parts) - set(PARTS)))
        require(not unknown and len(self.parts) > 0, f"parts are {self.parts}; choose among {', '.join(PARTS)}.")
        most = max(self.seeds, self.set_seeds)
        require(most <= len(TRAINING), f"{most} trainings are asked; there are seeds for {len(TRAINING)}.")
        require(
            self.d < min(self.lengths) <= self.short <= max(self.lengths),
            f"lengths are {self.lengths} with short {self.short} and d {self.d}; least squares needs more examples than "
            "features, and the first stage ends between the shortest and the longest prompt.",
        )
        # what is left of the last chunk would be solved beside the others, and such solves can wait for each other for ever
        require(
            self.test % 10 == self.set_test % 10 == self.validation % CHUNK == self.bayes % 2 == 0,
            f"test is {self.test}, set_test {self.set_test}, validation {self.validation} and bayes {self.bayes}; prompts are "
            f"answered in chunks, so they must be multiples of 10, 10, {CHUNK} and 2.",
        )
        require(2 <= self.bayes <= self.test, f"bayes is {self.bayes}; its prompts are at least 2 of the {self.test} tested.")
        for width in (self.width, *self.widths):
            require(width % self.heads == 0, f"a width is {width}; the {self.heads} heads must divide it.")
