"""Keys of JAX's random numbers: always of threefry, whatever JAX's default is."""

import jax


def threefry(seed: jax.Array | int) -> jax.Array:
    """Return a typed threefry key. Under vmap, `rbg` would use the first member's key for all."""
    return jax.random.key(seed, impl="threefry2x32")
