"""Whether the clocks can be trusted: ours against the venue's, the wall clock against the steady one, and lost time.

Owns the reason CLOCK_SKEW and what is said when the wall clock steps or the machine has slept. The one idea: what the
venue's clock is asked gives two bounds, since it was read after the question and before the answer; entries stop where
the whole of what is possible lies beyond `clock_skew_max_ms`, and never on a slow answer alone. Judged is the wall clock,
by which the documents' times are read; the engine's own deadlines run on a steady clock that no step can move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hands.core.breakers import hold_reason
from hands.core.commands import Alert, AnyCommand
from hands.core.events import ClockStepped, Link
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.core.vocab import Venue

STEP_TOLD_NS = 5 * NS_PER_MS

ANOTHER_DAY_NS = 3600 * NS_PER_S
"""A simulator further away than that was started at another date on purpose; no other venue can be."""

Out = list[AnyCommand]


def skew_ns(state: State) -> int | None:
    """Return how far the wall clock is provably ahead of the venue's (negative: behind it); 0 where it may be right.

    None where nothing is known: the venue's clock has not answered, and no feed is measured.
    """
    bounds = _bounds(state)
    if bounds is None:
        return None
    least, most = bounds
    return least if least > 0 else min(0, most)


def _bounds(state: State) -> tuple[int, int] | None:
    """Return the least and the most that the wall clock can be ahead of the venue's.

    A feed's offset is the clocks' and the way together, so it bounds from above only; it counts where the venue's clock
    was not asked: its own stamps say more than a feed's.
    """
    session = state.session
    if session is None or session.ahead_max_ns is None or session.ahead_min_ns is None:
        offsets = [
            offset for link, offset in state.venue_offsets_ns.items() if link is not Link.TRADE_UPDATES
        ]
        return (-(2**62), state.wall_offset_ns + min(offsets)) if offsets else None
    return state.wall_offset_ns + session.ahead_min_ns, state.wall_offset_ns + session.ahead_max_ns


def judge_clocks(state: State, out: Out) -> None:
    """Set or clear CLOCK_SKEW; its detail keeps saying by how much."""
    found, allowed = skew_ns(state), state.limits.hard.clock_skew_max_ms
    if found is None or abs(found) <= allowed or (state.venue is Venue.SIM and abs(found) > ANOTHER_DAY_NS):
        hold_reason(state, out, "CLOCK_SKEW", None)
        return
    detail = (
        f"the wall clock is {abs(found) / NS_PER_S:.1f} s {'ahead of' if found > 0 else 'behind'} the venue's;"
        f" {allowed / NS_PER_S:g} s are allowed (clock_skew_max_ms)"
    )
    before = state.reasons.get("CLOCK_SKEW")
    if before is None:
        hold_reason(state, out, "CLOCK_SKEW", detail)
    else:
        state.reasons["CLOCK_SKEW"] = msgspec.structs.replace(before, detail=detail)


def _clock_stepped(state: State, event: ClockStepped, out: Out) -> None:
    """Take over where the wall clock is now; time that passed in a sleep has made what was due then due now."""
    moved_ns = event.wall_offset_ns - state.wall_offset_ns
    if event.slept_ns:
        message = (
            f"the machine slept for {event.slept_ns / NS_PER_S:.1f} s; what was due meanwhile is done now"
        )
        out.append(Alert(level="warning", code="SLEPT", message=message))
    if abs(moved_ns) >= STEP_TOLD_NS:
        message = f"the wall clock moved by {moved_ns / NS_PER_S:.3f} s"
        out.append(Alert(level="warning", code="CLOCK_STEPPED", message=message))
    state.wall_offset_ns = event.wall_offset_ns
    judge_clocks(state, out)


HANDLERS: Final[dict[type[msgspec.Struct], Callable[[State, Any, Out], None]]] = {
    ClockStepped: _clock_stepped
}
"""What `decide` does with the event that only concerns this room."""
