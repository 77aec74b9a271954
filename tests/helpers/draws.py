"""Random numbers of a test, other ones in each run; a test that fails shows the seed to have them again."""

import os
import random

SEED = "JAXLOOP_TEST_SEED"


def draws():
    """Other numbers each time; those of `JAXLOOP_TEST_SEED`, if it is set."""
    seed = int(os.environ.get(SEED) or int.from_bytes(os.urandom(4), "little"))
    print(f"{SEED}={seed} gives the same random numbers again")
    return random.Random(seed)
