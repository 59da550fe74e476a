"""ReLU units: what they add to the stream, and how near their curves are."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxl2o.constructions.piecewise import exponential, hyperbolic_tangent, interpolant, reciprocal
from jaxl2o.constructions.units import bend, beside, cleared, linear, products, reading, rectified, sharing, squares, writing
from jaxl2o.models.layout import Layout

SEEDS = st.integers(0, 2**31 - 1)

AT = Layout((("a", 2), ("b", 2), ("one", 1), ("out", 2)))


def added(mlp, z):
    """What an MLP adds to the slot `out` of these tokens, and whether it adds anything elsewhere."""
    change = np.maximum(z @ np.asarray(mlp.up.dense), 0.0) @ np.asarray(mlp.down.dense)
    return change[:, AT.slice("out")], np.abs(change[:, : AT.slice("out").start]).max()


@given(seed=SEEDS)
def test_units_add_linear_maps_curves_squares_and_products(seed):
    """Exactly, but for curves (their interpolant), squares (0 to limit^2 / 4 cells^2 more) and products (AB / 4 cells^2)."""
    rng, cells, eye = np.random.default_rng(seed), 7, jnp.eye(2)
    a, b = rng.uniform(-3.0, 3.0, (20, 2)), rng.uniform(-0.5, 0.5, (20, 2))
    z = np.concatenate([a, b, np.ones((20, 1)), rng.normal(size=(20, 2))], axis=1)
    first, second, out = reading(AT, a=eye), reading(AT, b=eye), writing(AT, out=eye)
    knots, values = np.cumsum(rng.uniform(0.1, 1.0, 6)) - 2.0, rng.normal(size=6)
    curve, other = (interpolant(jnp.asarray(knots), jnp.asarray(heights)) for heights in (values, values**2))
    exact = {
        "linear": (linear(first, out), a),
        "rectified": (rectified(reading(AT, a=eye, one=jnp.ones((1, 2))), out), np.maximum(a + 1.0, 0.0)),
        "curve": (bend(AT, curve, first, out), np.interp(a, knots, values)),
        "shared": (sharing(bend(AT, curve, first, out), bend(AT, other, first, out)), np.interp(a, knots, values + values**2)),
        "both": (beside(linear(first, out), linear(second, out)), a + b),
        "cleared": (cleared(AT, "out"), -z[:, -2:]),
    }
    for mlp, expected in exact.values():
        found, elsewhere = added(mlp, z)
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12)
        assert elsewhere == 0.0
    more = added(squares(AT, cells, first, out, 3.0), z)[0] - a**2
    assert (more >= -1e-13).all()
    assert more.max() <= 9.0 / (4.0 * cells**2) + 1e-13
    found, _ = added(products(AT, cells, first, second, out, (3.0, 0.5)), z)
    assert np.abs(found - a * b).max() <= 1.5 / (4.0 * cells**2) + 1e-13
    none = np.eye(1, 7, 4)
    assert (added(products(AT, cells, first, second, out, (3.0, 0.5)), none)[0] == 0.0).all()


CURVES = {
    "tanh": (hyperbolic_tangent, np.tanh, 2.6, np.concatenate([np.linspace(-40.0, 40.0, 9), np.linspace(-9.0, 9.0, 20001)])),
    "exp": (exponential, np.exp, 0.52, np.concatenate([np.linspace(-700.0, 0.0, 9), np.linspace(-16.0, 0.0, 20001)])),
    "1/z": (lambda cells: reciprocal(cells, 3.0), lambda z: 1.0 / z, (1.0 - 3.0**-0.5) ** 2, np.linspace(1.0, 3.0, 20001)),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_as_near_as_they_say(name):
    """The largest error times cells^2 is below its bound, and in the end within a tenth of it: cells err alike."""
    make, function, bound, z = CURVES[name]
    found = []
    for cells in (1, 3, 10, 100):
        curve = make(cells)
        values = np.asarray(curve.level + jnp.maximum(z[:, None] - curve.knots[None], 0.0) @ curve.kinks)
        found.append(np.abs(values - function(z)).max() * cells**2)
    assert max(found) <= bound * (1.0 + 1e-9)
    assert found[-1] >= 0.9 * bound
