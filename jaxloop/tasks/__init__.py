"""Tasks that ship; none needs a download."""

from jaxloop.tasks.arrays import arrays
from jaxloop.tasks.digits import digits
from jaxloop.tasks.mnist1d import mnist1d
from jaxloop.tasks.modular_addition import modular_addition
from jaxloop.tasks.sparse_parity import sparse_parity
from jaxloop.tasks.text import text

__all__ = ["arrays", "digits", "mnist1d", "modular_addition", "sparse_parity", "text"]
