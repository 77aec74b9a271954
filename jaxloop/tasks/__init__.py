"""Tasks that ship, all on real data without a download."""

from jaxloop.tasks.digits import digits
from jaxloop.tasks.mnist1d import mnist1d

__all__ = ["digits", "mnist1d"]
