"""How the populations of tests compile: quickly, unless bits are compared that depend on how."""

import os

# Read before tests/conftest.py changes them, and handed on to the workers, which inherit the changed ones.
USERS_XLA_FLAGS = os.environ.setdefault("USERS_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
# Without LLVM's optimizations programs compile in half the CPU time, and without XLA's fusion emitters in half of
# that, but then a member's last bits depend on the size of its group.
UNOPTIMIZED = "--xla_backend_optimization_level=0"
QUICK = f"{UNOPTIMIZED} --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
# The options of one program that undo these.
FUSED = {"xla_backend_extra_options": ""}
OPTIMIZED = {"xla_backend_optimization_level": 3} | FUSED


def xla_flags(flags: str) -> str:
    """Return XLA_FLAGS with these after the user's."""
    return f"{USERS_XLA_FLAGS} {flags}".strip()
