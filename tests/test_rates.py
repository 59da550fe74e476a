"""Fits of rates find the rate of errors that have one, and tell a power law from a geometric one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.sparse_recovery.rates import LEAST, rates

STEPS = np.arange(1, 13)
LEVELS = st.floats(1e-3, 10.0)


@given(level=LEVELS, factor=st.floats(0.3, 0.95))
def test_a_geometric_error(level, factor):
    """c q^k has the factor q, which explains all of it, and more than any power does."""
    found = rates(level * factor**STEPS)
    np.testing.assert_allclose(found.factor, factor, rtol=1e-9)
    np.testing.assert_allclose(found.geometric_fit, 1.0, atol=1e-9)
    assert found.power_fit < 0.95


@given(level=LEVELS, exponent=st.floats(-3.0, -0.2))
def test_a_power_law(level, exponent):
    """c k^a has the exponent a, which explains all of it, and more than any factor does."""
    found = rates(level * STEPS**exponent)
    np.testing.assert_allclose(found.exponent, exponent, rtol=1e-9)
    np.testing.assert_allclose(found.power_fit, 1.0, atol=1e-9)
    assert found.geometric_fit < 0.95


def test_zeros_count_as_rounding():
    """Errors below what is told from zero are set to it."""
    assert rates(np.zeros(5)) == rates(np.full(5, LEAST / 2.0))
