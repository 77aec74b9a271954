"""One compiled program for many members: pure JAX, without disk, clock or environment."""
