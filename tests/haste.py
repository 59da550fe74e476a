"""What makes compiling cheap where programs are many and small, and changes no number: for tests, and for smoke runs.

A test compiles hundreds of programs of an operation or two, each of which runs for microseconds. Of the 20 milliseconds that
such a program takes, a third builds and drops a register of every operation of MLIR, always the same.
"""

import functools
import gc

import jax


def hasten() -> None:
    """Lower every program of the process in one MLIR context, make no key of it for a cache on disk, collect garbage late."""
    # Python looks for garbage after every 700 new objects, of which tracing makes millions
    gc.set_threshold(50_000, 20, 50)
    # there is no cache on disk; a key is made for it all the same
    jax.config.update("jax_enable_compilation_cache", False)
    if jax.__version_info__[:2] == (0, 10):  # what is below is JAX's own affair, and may be another's in the next version
        from jax._src.interpreters import mlir

        mlir.make_ir_context = functools.cache(mlir.make_ir_context)
