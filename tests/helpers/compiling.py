"""How the populations of tests compile: quickly, unless bits are compared as users get them."""

import os

from jaxlib.version import __version__ as jaxlib_version

# Read before tests/conftest.py changes them, and handed on to the workers, which inherit the changed ones.
USERS_XLA_FLAGS = os.environ.setdefault("USERS_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
# Without LLVM's optimizations programs compile in half the CPU time.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}
OPTIMIZED = {"xla_backend_optimization_level": 3}
# Without fusion emitters, in half of that again; only jaxlib 0.10 can switch them off, and replays then differ.
UNFUSED = {"xla_cpu_use_fusion_emitters": False} if jaxlib_version.startswith("0.10.") else {}


def xla_flags(options: dict[str, int | bool]) -> str:
    """Return XLA_FLAGS with these options after the user's."""
    words = [f"--{name}={str(value).lower()}" for name, value in options.items()]
    return " ".join([USERS_XLA_FLAGS, *words]).strip()
