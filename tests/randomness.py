"""The one random choice of a run of the tests."""

import os
import random

RANDOM_SEED = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(2**32))
"""Of the cases that differ from run to run; TEST_SEED repeats those of another run."""
