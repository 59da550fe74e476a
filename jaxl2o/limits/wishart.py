"""Exact moments of the Hessian of Gaussian prompts: what a polynomial in it leaves of the error, as rational numbers."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import numpy as np
from jaxtyping import Shaped

from jaxl2o import checks

# (a_1, ..., a_k) stands for tr(W S^a_1 W S^a_2 ... W S^a_k)
Word = tuple[int, ...]


def loss_matrix(n: int, eigenvalues: Sequence[Fraction | int | float], order: int) -> Shaped[np.ndarray, "k k"]:
    """M_ij = E tr(Sigma H^i Sigma^-1 H^j) for 0 <= i, j <= order, each an exact `Fraction`.

    H = X'X / n, the n rows of X from N(0, Sigma). So M is the loss of polynomials: for w* ~ N(0, Sigma^-1) and a query
    x ~ N(0, Sigma),

        E <x, p(H) w*>^2 = E tr(Sigma p(H) Sigma^-1 p(H)) = p'M p,    p(H) = sum_i p_i H^i.

    M depends on Sigma through its eigenvalues alone. For Sigma = I, M_ij is the (i+j)-th moment of H's expected spectrum
    times d.

    Let X = Z S^1/2, S = Sigma, W = Z'Z; then H^i is a word in W and S. Integration by parts over the entries of Z,
    E[Z_ri f] = E[df / dZ_ri], takes one W out of a trace: for A = S^a_1 W S^a_2 ... W S^a_k and a product Pi of traces,

        E[tr(W A) Pi] = n E[tr(A) Pi] + sum_{A = P W Q} E[(tr(P) tr(W Q) + tr(P W Q')) Pi]
                        + sum_{tr(W B) in Pi, each W of it} E[(tr(A W B) + tr(A W B')) Pi / tr(W B)]

    where transposition, ', reverses the letters. Each word on the right has one W less. (All such moments: Letac and Massam
    2004, Scandinavian Journal of Statistics 31.) The number of words grows quickly with the order, least for a multiple of
    I: a tenth of a second takes order 13 there, and order 6 for five eigenvalues that differ.

    math     code                                  shape
    n        n                                     ()
    Sigma    eigenvalues, positive, in any order   (d,)
    M        the answer                            (order + 1, order + 1)

    Raises `ValueError` for no examples, no eigenvalues, eigenvalues that are not positive, and a negative order.
    """
    checks.require(n >= 1, f"n is {n}; H is an average over examples, so give at least one.")
    checks.require(len(eigenvalues) >= 1, "there are no eigenvalues; give one for each of the d features.")
    checks.positive("eigenvalues", eigenvalues)
    checks.nonnegative("order", order)
    sigma = [Fraction(value) for value in eigenvalues]
    expected = _expected_trace(n, sigma)
    # powers of a multiple of I go before the trace, and all words of one length are the same
    isotropic = len(set(sigma)) == 1

    def entry(i: int, j: int) -> Fraction:
        if isotropic:
            return sigma[0] ** (i + j) * expected((0,) * (i + j + 1)) / n ** (i + j)
        return expected(_letters(i, j)) / n ** (i + j)

    matrix = np.empty((order + 1, order + 1), dtype=object)
    for i, j in np.ndindex(matrix.shape):
        matrix[i, j] = matrix[j, i] if j < i else entry(i, j)
    return matrix


def _letters(i: int, j: int) -> Word:
    """The powers of S that stand around and between the W of tr(S H^i S^-1 H^j) n^(i+j)."""
    if i == 0 or j == 0:
        return (1,) * (i + j) + (0,)
    return (2,) + (1,) * (i - 1) + (0,) + (1,) * (j - 1) + (0,)


def _expected_trace(n: int, sigma: Sequence[Fraction]) -> Callable[[Word], Fraction]:
    """(c_1, ..., c_m) -> E tr(S^c_1 W S^c_2 ... W S^c_m)."""

    @cache
    def power_trace(power: int) -> Fraction:
        return sum((value**power for value in sigma), Fraction(0))

    def closed(letters: Word, others: tuple[Word, ...] = ()) -> Fraction:
        """E[tr(S^c_1 W ... W S^c_m) times the traces of the others]: under a trace the two ends meet."""
        if len(letters) == 1:
            return power_trace(letters[0]) * product(_ordered(others))
        return product(_ordered(((*letters[1:-1], letters[0] + letters[-1]), *others)))

    @cache
    def product(words: tuple[Word, ...]) -> Fraction:
        """E of a product of traces, by the recursion."""
        if not words:
            return Fraction(1)
        a, *others = words
        total = n * closed(a, (*others,))
        for cut in range(1, len(a)):
            p, q = a[:cut], a[cut:]
            total += closed(p, (q, *others)) + closed(p + q[::-1], (*others,))
        for place, word in enumerate(others):
            rest = (*others[:place], *others[place + 1 :])
            for turn in range(len(word)):
                b = word[turn:] + word[:turn]
                total += closed(a + b, rest) + closed(a + b[::-1], rest)
        return total

    return closed


def _ordered(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """One order for each product. The shortest word comes first: taken apart first, it leaves the fewest products to do."""
    return tuple(sorted(map(_canonical, words), key=lambda word: (len(word), word)))


@cache
def _canonical(word: Word) -> Word:
    """One word for each trace: tr(A) does not change under rotation, nor under transposition, which reverses the letters."""
    return min(way[turn:] + way[:turn] for way in (word, word[::-1]) for turn in range(len(word)))
