"""The model card: what a model was trained on, what it reached, and where it may be asked."""

import json
from typing import Any, NamedTuple

from jaxl2o import checks


class Metric(NamedTuple):
    """A measured number with its 95 % interval: of what, value, low, high, over how many signals.

    A relative error is the mean of |w_hat - w|^2 over the mean of |w|^2, over signals; of labels the same of labels.
    """

    of: str
    value: float
    low: float
    high: float
    signals: int


class Card(NamedTuple):
    """What one must know before a model's answer is believed.

    summary: one line.  task, training, limits: sentences.  command: what makes the weights and this card again.
    d: the number of coefficients.  n_least, n_most: the numbers of measurements that it answers.  law: of X and of the signals.
    label_mean_square: of the labels under that law, to which the labels of a prompt are scaled.
    metrics: relative errors on held-out signals.  model: what `models.MODELS` needs to build it, besides the parameters.
    """

    name: str
    summary: str
    task: str
    training: str
    command: str
    d: int
    n_least: int
    n_most: int
    law: str
    label_mean_square: float
    limits: str
    metrics: tuple[Metric, ...]
    model: dict[str, Any]

    def outside(self, n: int, d: int) -> str | None:
        """One sentence that says why a problem of n measurements of d coefficients is out of range; None if it is within."""
        if d == self.d and self.n_least <= n <= self.n_most:
            return None
        return f"{self.name} is for {self.d} coefficients from {self.lengths} measurements, but x has shape ({n}, {d})"

    @property
    def lengths(self) -> str:
        """The range of n in words."""
        return f"{self.n_least}" if self.n_least == self.n_most else f"{self.n_least} to {self.n_most}"

    def text(self) -> str:
        """The card as JSON, which `card_of` reads."""
        fields = {**self._asdict(), "metrics": [metric._asdict() for metric in self.metrics]}
        return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def card_of(text: str) -> Card:
    """The card in a JSON text; `InputError` if a field is missing, unknown or empty."""
    fields = json.loads(text)
    differing = ", ".join(sorted(set(fields) ^ set(Card._fields)))
    checks.require(not differing, f"a model card lacks, or should not have, {differing}; make it again by its command.")
    empty = ", ".join(name for name, value in fields.items() if not value)
    checks.require(not empty, f"a model card says nothing of {empty}; make it again by its command.")
    return Card(**{**fields, "metrics": tuple(Metric(**metric) for metric in fields["metrics"])})
