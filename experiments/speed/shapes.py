"""What is timed: the models, the prompts and the batch, the same for every contender; nothing here imports JAX or PyTorch."""

from typing import NamedTuple


class Shape(NamedTuple):
    """A model on prompts of n examples: sparse recovery in d = 20 with 3 non-zero coefficients, fresh in every step.

    A decoder sees 2n + 1 tokens: the label of the query, which nobody reads, is left out on both sides.
    """

    model: str
    n: int
    d: int = 20
    sparsity: int = 3
    depth: int = 12
    heads: int = 4
    width: int = 42
    batch: int = 64
    rate: float = 1e-4
    positions: int = 202


SHAPES = {
    "small-tf": Shape("small-tf", n=10),
    "small-tf-n40": Shape("small-tf", n=40),
    "gpt2": Shape("gpt2", n=10, heads=8, width=256),
    "gpt2-n40": Shape("gpt2", n=40, heads=8, width=256),
}

# around which sizes and devices are varied; LISTA-VM has `depth` steps, and neither heads nor width
VARIED = {"small-tf": SHAPES["small-tf"], "lista-vm": Shape("lista-vm", n=10, d=84)}
