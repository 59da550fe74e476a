"""What a caller may hand over, and one clear sentence when it is something else.

Values are checked where they are concrete (factories, `lasso`, `recover`, the command line). Under `jit`, `vmap` and
`grad` a value has no number yet; then these checks pass in silence, and nothing is added to the traced code.
"""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer


class InputError(ValueError):
    """A caller's mistake: one sentence that says what was given, what is needed, and what to do."""


def require(condition: bool, sentence: str) -> None:
    """Raise `InputError(sentence)`, a `ValueError`, unless the condition holds."""
    if not condition:
        raise InputError(sentence)


def concrete(value: Any) -> bool:
    """Whether a value has numbers, rather than being traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def finite(name: str, value: Any) -> None:
    """Refuse NaN and infinity, saying how many there are; of one number, saying it."""
    if concrete(value):
        bad = int(np.sum(~np.isfinite(np.asarray(value, dtype=float))))
        of_many = f"{name} has {bad} non-finite values; give finite numbers, or leave those examples out."
        require(bad == 0, of_many if np.ndim(value) > 0 else f"{name} is {value}; give a finite number.")


def nonnegative(name: str, value: Any) -> None:
    """Refuse numbers below zero, NaN and infinity, saying the least one."""
    if concrete(value) and np.size(value) > 0:
        finite(name, value)
        least = float(np.min(np.asarray(value, dtype=float)))
        require(least >= 0.0, f"{name} is {least:g}{_smallest(value)}; it must be zero or greater.")


def positive(name: str, value: Any) -> None:
    """Refuse numbers that are not above zero and finite, saying the least one."""
    if concrete(value) and np.size(value) > 0:
        finite(name, value)
        least = float(np.min(np.asarray(value, dtype=float)))
        require(least > 0.0, f"{name} is {least:g}{_smallest(value)}; it must be greater than zero.")


def _smallest(value: Any) -> str:
    """That a number is the least one of several."""
    return " at its smallest" if np.ndim(value) > 0 else ""


def probabilities(name: str, value: Any) -> None:
    """Refuse what is not a vector of numbers of at least zero whose sum is one, saying the sum."""
    shape(name, value, (None,))
    nonnegative(name, value)
    if concrete(value):
        total = float(np.sum(np.asarray(value, dtype=float)))
        require(abs(total - 1.0) < 1e-5, f"{name} sum to {total:g}; they are probabilities, so divide them by their sum.")


def shape(name: str, value: Any, expected: tuple[int | None, ...]) -> None:
    """Refuse an array of another shape; `None` stands for any length."""
    got = np.shape(value)
    fits = len(got) == len(expected) and all(e in (None, g) for g, e in zip(got, expected, strict=True))
    wanted = "(" + ", ".join("any" if e is None else str(e) for e in expected) + ("," if len(expected) == 1 else "") + ")"
    hint = ", so flatten it by .ravel()" if len(expected) == 1 and is_column(got) else ""
    require(fits, f"{name} has shape {got}; it must have shape {wanted}{hint}.")


def is_column(got: tuple[int, ...]) -> bool:
    """Whether this shape is of a vector that is kept as one column or one row."""
    return len(got) == 2 and 1 in got
