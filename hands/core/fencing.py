"""The fence: after somebody else may have acted for us, nothing is sent before the venue has been asked.

Owns what follows when the runtime finds that the watchdog raised its fence, or that the engine itself stood still for so
long that it may have. May not look at either: an event tells of it. The one idea: a fenced engine is one that has just
started, and comes back the same way. A truth asked *after* the moment is reconciled, the watchdog's orders with it (found
by id: `hands.core.strays`), and only then does anything leave again.

That has a bound, since the watchdog stands down once the engine beats: a venue that takes orders but names no truth would
leave a position to nobody. After `PATIENCE_NS` protection and exits go on without; entries wait for the truth. Nothing is
sent twice for that: the venue takes each id once, and what another order already sells is reserved. An engine that has
just started has no such bound: it does not beat yet, so the watchdog is still there, and what its journal says is old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hands.core.breakers import hold_reason
from hands.core.commands import Alert, AnyCommand
from hands.core.events import Fenced
from hands.core.pursuit import ask_for_truth
from hands.core.state import State
from hands.core.units import NS_PER_S, Ns
from hands.core.upkeep import look_after

PATIENCE_NS = 10 * NS_PER_S

Out = list[AnyCommand]


def _fenced(state: State, event: Fenced, out: Out) -> None:
    raised = event.epoch != state.fence  # else the engine only stood still, and nobody sent anything for it
    state.fence = event.epoch
    if state.dry_run:
        return
    again = state.fenced_ns is not None
    state.watchdog_acted = raised or (again and state.watchdog_acted)
    if state.reconciled or state.fence_patience_ns is not None:
        state.fence_patience_ns = Ns(state.now_ns + PATIENCE_NS)
        state.wake_at(state.fence_patience_ns, "fence", "")
    state.fenced_ns = state.now_ns
    state.reconciled = False
    # what was asked before this moment may not show what was done until then
    state.truth_of_ns = state.now_ns
    if not again:
        message = f"nothing is sent until the venue has said what is: {event.reason}"
        out.append(Alert(level="warning", code="FENCED", message=message))
    ask_for_truth(state, f"fenced: {event.reason}", out, 0)


def fence_patience_over(state: State, out: Out) -> None:
    """Let protection go on if the venue has named no truth for too long; entries still wait for it."""
    until_ns = state.fence_patience_ns
    if state.fenced_ns is None or state.reconciled or until_ns is None or state.now_ns < until_ns:
        return
    detail = (
        "the venue has not said what is since the watchdog may have acted; protection goes on, entries wait"
    )
    hold_reason(state, out, "FENCED", detail)
    state.reconciled = True
    for ticket in list(state.tickets.values()):
        look_after(state, ticket, out)


HANDLERS: dict[type[Any], Callable[[State, Any, Out], None]] = {Fenced: _fenced}
