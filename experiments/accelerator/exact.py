"""Whether constructions are exact in float32 on this device, beside what they were on the CPU of the kept results."""

import jax
import numpy as np

from experiments import common
from experiments.accelerator.config import SEED, Config
from experiments.common import Results
from jaxl2o.constructions import CONSTRUCTIONS

PRECISIONS = ("highest", "default")  # of float32 products; by default accelerators take coarser ones


def gaps(config: Config) -> Results:
    """The largest gap of every construction over the prompts and layers of `exactness`, which are the same on every device."""
    exactness = common.load("exactness")
    with np.load(common.RESULTS / "exactness" / "quick" / "results.npz", allow_pickle=False) as kept:
        found = {"exact/names": np.array(config.theorems)}
        found["exact/cpu"] = np.array([kept[f"float32/{name}"].max() for name in config.theorems])
    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(SEED), config.prompts)
        for precision in PRECISIONS if jax.default_backend() != "cpu" else PRECISIONS[:1]:
            with jax.default_matmul_precision(precision):
                measured = [np.asarray(exactness.gaps_of(CONSTRUCTIONS[name], keys)).max() for name in config.theorems]
            found[f"exact/{precision}"] = np.array(measured)
    return {"exact/default": found["exact/highest"], **found}  # on a CPU there is one precision
