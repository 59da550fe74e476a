"""How the trainings of an experiment lie on the devices, as flags say it; and which experiments take that."""

from typing import NamedTuple

from jaxl2o.training.loop import Recipe
from jaxl2o.training.parallel import Sharding

# those whose trainings take a placement; the others place their own
PLACED = frozenset(
    {
        "compressed_sensing",
        "sparse_recovery",
        "sparse_recovery.transformers",
        "sparse_recovery.at_length",
        "sparse_recovery.gpt2",
        "l2o_benchmark",
        "l2o_benchmark.weights",
        "newton",
        "mixture.trained",
    }
)


class Placement(NamedTuple):
    """How trainings lie on the devices, as in `Recipe`; None leaves a value to the experiment."""

    devices: int | None = None
    sharding: Sharding | None = None
    at_once: int | None = None

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe, placed like this."""
        return recipe._replace(**{name: value for name, value in self._asdict().items() if value is not None})
