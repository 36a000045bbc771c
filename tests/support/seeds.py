"""Seeds of what tests leave to chance: given, printed, and the same each time where they gate a change."""

from __future__ import annotations

import os
import random

__all__ = ["GIVEN_SEED", "IS_FULL", "seed"]

#: Whether these are full drills, which look where no run before has looked.
IS_FULL = os.environ.get("LINQ_DRILLS") == "full"

#: The seed in `LINQ_SEED`, which repeats a run; None if there is none.
GIVEN_SEED = int(os.environ["LINQ_SEED"]) if "LINQ_SEED" in os.environ else None


def seed() -> int:
    """The seed of a test, which it prints: that of `LINQ_SEED`, otherwise a new one in full drills, and 1 elsewhere."""
    chosen = GIVEN_SEED if GIVEN_SEED is not None else random.randrange(10**9) if IS_FULL else 1
    print(f"seed: LINQ_SEED={chosen}")
    return chosen
