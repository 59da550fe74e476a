"""An optimiser that a rare task cannot break."""

import optax

from jaxl2o import checks


def guarded(optimizer: optax.GradientTransformation, norm: float = 1.0) -> optax.GradientTransformation:
    """The optimiser behind a clip: gradients are scaled down to this global norm, and entries that are not finite are left out.

    An infinite gradient has an infinite norm, so the clip makes zeros of its finite entries and inf / inf, which is no number,
    of the others; those are set to zero before the optimiser remembers them. Gradients of NaN become zero likewise.
    """
    checks.positive("norm", norm)
    return optax.chain(optax.clip_by_global_norm(norm), optax.zero_nans(), optimizer)
