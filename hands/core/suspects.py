"""Suspicious prints: a trade far from the one before it, of which no sale condition says that it is wrong.

Owns the rule and what a symbol remembers for it. May look at trades alone: quotes of the past do not come again, and a
state that is made anew must be the one it would have been. The one idea: an erroneous print is alone, a market that has
moved is not. So what is far from the last trade is held aside, and the next trade says which of the two it was.

By these rules, for trades whose conditions let them be a price:
- One price is far from another where it is higher or lower by more than `suspicious_jump` of the lower of the two.
- A trade far from the last one that counted is held aside if the two were made within `LASTS_NS` of each other: an older
  one says nothing of now, so the first print after a night counts at once. It lets time pass and is counted as
  suspicious, and that is all.
- The next trade that is not far from the last one counts, and what was held is forgotten. One that is far from it, but not
  from the one held, and of another instant, shows that the market has moved: it counts, and so does what follows it. (What
  one order does in a thin book is of one instant.) What was held stays out: its place in the order of trades is gone.
- One that is far from both is held in the other's place.
- A trade out of sequence that is far is left out too, but is not held: it says nothing of what comes after it.
"""

from __future__ import annotations

import numpy as np

from hands.core.compiled import Record, compiled, compiled_apart
from hands.core.units import NS_PER_S

LASTS_NS = 60 * NS_PER_S

SUSPECT = np.dtype([("price", "f8"), ("venue_ns", "i8"), ("after", "i8"), ("count", "i8")], align=True)
"""What is held: its price and time, and how many ticks had been counted before it; with one more it is forgotten.
`count` is how many prints were suspicious, those among them that the market then followed."""


def times_of(suspicious_jump: float) -> float:
    """Return how many times as high a price is that is just not far. Raises ValueError: not a fraction."""
    if not suspicious_jump > 0.0:
        raise ValueError(f"{suspicious_jump} is not a jump to suspect a print for")
    return 1.0 + suspicious_jump


@compiled
def is_far(price: float, other: float, times: float) -> bool:
    """Whether one of two prices is more than `times` the other."""
    return bool(price > other * times or price * times < other)


@compiled_apart
def is_suspicious(
    suspect: Record, last: Record, times: float, ticks: int, price: float, venue_ns: int, in_sequence: bool
) -> bool:
    """Say whether a trade that is far from the `last` is held aside, and hold it; `ticks` have been counted so far."""
    if not last.seen or abs(venue_ns - last.venue_ns) > LASTS_NS:
        return False
    if not in_sequence:
        suspect.count += 1
        return True
    held = suspect.after == ticks and venue_ns != suspect.venue_ns
    if held and not is_far(price, suspect.price, times):
        return False
    suspect.price = price
    suspect.venue_ns = venue_ns
    suspect.after = ticks
    suspect.count += 1
    return True
