"""Who competes in which case, on how many of its problems, and from which package."""

import importlib.util
from typing import Any, NamedTuple

from experiments.speed.lasso.problems import CASES, Case

# a gap is asked of these by their own words: scikit-learn's and celer's tol is relative to |y|^2, twice P(0)
TOL = (5e-7,)
# these stop by how far the optimality conditions are broken, relative to the penalty: the loosest is taken whose gaps do
LADDER = tuple(float(f"{digit}e-{power}") for power in range(1, 8) for digit in (3, 1))


class Contender(NamedTuple):
    """A way to solve: its family, which has a colour, its name, its package, its tolerances, and the cases that it is for.

    all: it is given all problems of a case; else the first ones, and time is told a problem.
    """

    family: str
    name: str
    package: str
    tolerances: tuple[float, ...]
    cases: tuple[str, ...] = tuple(CASES)
    all: tuple[str, ...] = ()

    def job(self, case: Case, share: float) -> dict[str, Any]:
        """What the worker has to do: solve the problems of a case at a share of the largest penalty."""
        words = {"side": "lasso", "part": "times", "contender": self.name}
        return words | {"case": case._asdict(), "share": share, "tolerances": self.tolerances}


EVERYWHERE, SHARED = tuple(CASES), ("shared-x",)
CONTENDERS = (
    Contender("scikit-learn", "scikit-learn fit", "sklearn", TOL),
    Contender("scikit-learn", "scikit-learn fit, Gram", "sklearn", TOL, SHARED),
    Contender("scikit-learn", "scikit-learn bare", "sklearn", TOL),
    Contender("scikit-learn", "scikit-learn bare, Gram", "sklearn", TOL, SHARED),
    Contender("celer", "celer", "celer", TOL),
    Contender("skglm", "skglm", "skglm", LADDER),
    Contender("jaxopt", "jaxopt", "jaxopt", LADDER),
    Contender("ours", "ours, Fista", "jaxl2o", (1e-6,), all=("many-small", "few-large")),
    Contender("ours", "ours, Homotopy", "jaxl2o", (1e-6,), ("many-small",), all=("many-small",)),
    Contender("ours", "ours, Descent", "jaxl2o", (1e-6,), all=EVERYWHERE),
)


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def field_of(name: str, packages: tuple[str, ...]) -> list[Contender]:
    """The contenders of a case: ours, scikit-learn's, and those of these packages."""
    return [one for one in CONTENDERS if name in one.cases and one.package in ("jaxl2o", "sklearn", *packages)]
