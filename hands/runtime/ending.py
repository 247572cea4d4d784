"""The end of a process life: entries are cancelled, connections closed, records saved, all by one deadline.

Owns the order of these steps and what is said when one of them does not come to its end. May not decide when to end: the
daemon does. The one idea: each step gets what is left of the time, less what the later ones need, so that the last of them
still writes down what happened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from hands.core.events import OperatorAction
from hands.core.state import State
from hands.runtime.operator_desk import OperatorDesk

log = logging.getLogger("hands")

STOP_WITHIN_S = 4.5
"""From the signal to the end of everything; the contract gives five seconds to the whole process."""

CLOSE_WITHIN_S = 1.5
FLUSH_WITHIN_S = 0.5
"""The last parts of it: for the connections, and of that for what is still to be written."""


async def end_entries(state: State, desk: OperatorDesk, stopped: asyncio.Event, within_s: float) -> bool:
    """Cancel every unfilled entry and wait for the venue's word; False if one may still work there."""
    if state.reconciled:
        desk.operate(OperatorAction.STOP)
        try:
            async with asyncio.timeout(within_s):
                await stopped.wait()
        except TimeoutError:
            open_entries = [t.symbol for t in state.tickets.values() if t.entry and t.entry.is_live]
            log.critical("stopped with entries not proven cancelled: %s", ", ".join(open_entries))
            return False
    elif any(ticket.entry and ticket.entry.is_live for ticket in state.tickets.values()):
        log.critical("stopped before the venue answered; an entry of the last session may still work there")
        return False
    return True


async def close_each(
    closing: Mapping[str, Callable[[], Awaitable[None]]], left_s: Callable[[], float]
) -> bool:
    """Close one thing after the other; what is not closed in time is named, and makes it False."""
    still_open = []
    for name, close in closing.items():
        try:
            async with asyncio.timeout(left_s()):
                await close()
        except TimeoutError:
            still_open.append(name)
    if still_open:
        log.critical("stopped with these still open: %s", ", ".join(still_open))
    return not still_open
