"""The engine agrees with the independent oracle on coins: verdict, code, size and prices, over a seeded stream.

May not know how either of them comes to its verdict. Beside this file stands the same for the other asset class, so that
both run at once.
"""

from __future__ import annotations

import os

from tests.oracle.agreement import run, worth_something
from tests.oracle.stream import COINS

ABSENT = {"SESSION_CLOSED", "VENUE_RULE"}  # coins trade around the clock, and without brackets
CASES = 100_000 if os.environ.get("HANDS_SOAK") else 10_000


def test_the_engine_agrees_with_the_oracle_on_coins() -> None:
    """Twenty thousand cases together with the other file, two hundred thousand in soak."""
    worth_something(run(range(CASES), COINS), absent=ABSENT)
