"""Checksums of arrays, computed where the arrays are: the same number on however many devices an array is cut over.

checksum = sum_i mix(word_i ^ index_i * GOLDEN) mod 2^32

over the array's 32-bit words (narrower elements are one word each, wider ones two). `mix`, the last step of MurmurHash3
(Appleby, public domain), is a bijection of 32-bit words: so an array with one changed word never has the checksum it had, and
what changes more of them, or exchanges them, is missed once in 2^32. The sum is of integers, so its order does not matter.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Shaped, UInt32

GOLDEN = np.uint32(0x9E3779B9)  # 2^32 over the golden ratio, odd: neighbouring indices differ in about half of their bits


def checksums(tree: Any) -> dict[str, int]:
    """The name of every array in a tree, with its checksum. All processes get all of them, and none needs a whole array."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    sums = jax.device_get([checksum(leaf) for _, leaf in leaves])  # started one after another, awaited together
    return {jax.tree_util.keystr(path): int(value) for (path, _), value in zip(leaves, sums, strict=True)}


@jax.jit
def checksum(array: Shaped[Array, "*shape"]) -> UInt32[Array, ""]:
    """The checksum of one array, or of one typed key."""
    words = words_of(array)
    index = jnp.zeros(words.shape, dtype=jnp.uint32)
    for axis, size in enumerate(words.shape):
        index = index * np.uint32(size % 2**32) + lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(mix(words ^ (index * GOLDEN)), dtype=jnp.uint32)


def words_of(array: Shaped[Array, "*shape"]) -> UInt32[Array, "*words"]:
    """The bits of an array as words of 32: elements that have fewer are filled up with zeros, wider ones get an axis."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag])
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    return lax.bitcast_convert_type(array, f"uint{min(32, 8 * array.dtype.itemsize)}").astype(jnp.uint32)


def mix(words: UInt32[Array, "*words"]) -> UInt32[Array, "*words"]:
    """A bijection of 32-bit words, of which every bit of the result depends on every bit of the argument."""
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
