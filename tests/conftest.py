"""Every test runs in float64 on eight CPU devices, with shapes checked and silent promotions refused."""

import gc
import os
import re

import jax
import pytest
from haste import hasten
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
# nearly all of the suite's time is compiling; what is compiled runs for milliseconds
jax.config.update("jax_disable_most_optimizations", True)
if jax.__version_info__[:2] == (0, 10):  # XLA ends the process at a flag that it does not know, and these are not for ever
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")
hasten()

# every annotated shape of the library is checked here, and only here: by this hook, so the library is imported after it
install_import_hook("jaxl2o", "beartype.beartype")

settings.register_profile("jaxl2o", max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jaxl2o")


@pytest.fixture(autouse=True, scope="module")
def _what_was_compiled_is_not_garbage():
    """After a file nothing of what it compiled is looked through again: gigabytes, in every full collection."""
    yield
    gc.freeze()


@pytest.fixture
def refused():
    """(call, parts): the call raises `InputError`, in one sentence, which has these parts: what was given, what is needed."""
    from jaxl2o.checks import InputError  # not above: the process that hands out the files imports no library

    def check(call, parts):
        with pytest.raises(InputError, match=re.escape(parts[0])) as caught:
            call()
        sentence = str(caught.value)
        assert all(part in sentence for part in parts), sentence
        assert "\n" not in sentence
        assert sentence.endswith(".")
        assert not re.search(r"[.!?] [A-Z]", sentence), sentence

    return check


@pytest.fixture
def key() -> jax.Array:
    """One fixed key; tests split it by name."""
    return jax.random.key(20241017)
