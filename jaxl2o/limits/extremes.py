"""How large an eigenvalue random inputs may have: what step sizes and starts that serve every prompt are chosen by."""

import math

from jaxl2o import checks


def largest_eigenvalue(n: int, d: int, failure: float = 1e-6) -> float:
    """(1 + sqrt(d/n) + t)^2 with t = sqrt(2 log(1/failure) / n): above |X'X| / n with probability at least 1 - failure.

    For n rows of N(0, I), by the bound P(s_max(X) > sqrt(n) + sqrt(d) + u) <= exp(-u^2 / 2) of Davidson and Szarek 2001. For
    rows of N(0, Sigma) it is to be multiplied by the largest eigenvalue of Sigma. It falls in n: what serves n examples
    serves more.
    """
    checks.positive("n", n)
    checks.positive("d", d)
    checks.require(0.0 < failure < 1.0, f"failure is {failure:g}; it is a probability, strictly between 0 and 1.")
    return (1.0 + math.sqrt(d / n) + math.sqrt(2.0 * math.log(1.0 / failure) / n)) ** 2
