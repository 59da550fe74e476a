"""The sizes of a run, and its seeds."""

from dataclasses import dataclass

from jaxl2o.checks import require

# of trainings; of test prompts; of the covariances of the orders' rows; of prompts from tables
TRAINING, TEST, COVARIANCES, TABLES = (0, 1, 2), 110, 111, 112
NAMED = 200  # cells of the Transformer that claims name
PARTS = ("exact", "logistic", "improved", "orders", "attention", "encoder", "tables")


@dataclass(frozen=True)
class Config:
    """The sizes of a run."""

    parts: tuple[str, ...] = PARTS  # what is measured
    repetitions: int = 3  # of every training, each with its own seed
    conditions: tuple[int, ...] = (1, 10, 100, 1000)  # of covariances, where layers are compared with the solver
    prompts: int = 200  # on which constructions are compared with solvers
    d: int = 5  # features of logistic prompts
    n: int = 26  # examples of them
    penalty: float = 0.1  # mu
    newton_steps: int = 12
    inner_steps: int = 5  # of Newton-Schulz in every step
    cells: tuple[int, ...] = (25, 50, 100, 200, 400)  # of the step size; of the other curves in proportion
    improved_cells: tuple[int, ...] = (25, 50)  # of the Transformers that are trained on
    improved_newton_steps: int = 6  # of Newton in them, after which they stand at their floor
    improved_steps: int = 200  # of that training
    improved_batch: int = 16  # prompts a step
    improved_rate: float = 3e-9  # Adam's, at first; cosine to zero
    orders: tuple[int, ...] = (2, 3, 4)  # of inverse iterations
    order_conditions: tuple[int, ...] = (1, 5, 10)  # of covariances, where orders are compared
    covariances: int = 400  # drawn for each condition
    each: int = 250  # prompts of each covariance
    attention_laws: tuple[tuple[int, float], ...] = ((1, 0.0), (5, 0.0))  # conditions of covariances, and noise
    layers: tuple[int, ...] = (1, 2, 4, 6)  # of trained linear attention
    attention_d: int = 5  # features there
    attention_n: int = 25  # examples there
    attention_width: int = 32  # of its stream
    attention_steps: int = 4000  # of training
    attention_rate: float = 1e-3  # Adam's, after the first steps; cosine to a tenth
    norm_rate: float = 3e-3  # the same, with layer norm
    encoder_layers: tuple[int, ...] = (1, 2, 4)  # of the softmax encoder that gives w
    encoder_steps: int = 3000  # of training it
    encoder_rate: float = 1e-3  # Adam's, after the first steps; cosine to zero
    batch: int = 128  # prompts a step of training attention and the encoder
    test: int = 5000  # test prompts of what is trained
    sizes: tuple[int, ...] = (26, 50, 100, 200)  # examples of prompts from tables
    tabled: int = 100  # prompts of each size

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int):
                require(value >= 1, f"{name} is {value}; it must be at least 1.")
        unknown = ", ".join(sorted(set(self.parts) - set(PARTS)))
        require(not unknown and len(self.parts) > 0, f"parts are {self.parts}; choose among {', '.join(PARTS)}.")
        require(self.repetitions <= len(TRAINING), f"{self.repetitions} seeds are asked; there are {len(TRAINING)}.")
        require(min(self.cells) >= 2, f"cells are {self.cells}; half of them are the square's, so they are at least 2.")
        require(
            set(self.improved_cells) <= set(self.cells),
            f"improved_cells are {self.improved_cells}; choose them among cells, {self.cells}, with which they are compared.",
        )
