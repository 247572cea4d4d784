"""Known bugs to plant in the engine, each as a change of one function's text, to see that the explorer catches it.

Owns the table `BUGS`: what is changed, where the search looks, and which invariants notice. May not be used outside
tests. The one idea: a bug is planted in the source as it stands (a text that is not found there any more fails the
test), so what is caught is the bug and not a stand-in's misbehaviour.
"""

from __future__ import annotations

import inspect
import textwrap
from types import ModuleType
from typing import NamedTuple

import pytest

from hands.core import coverage, engine, exits, protection, pursuit, reports

Edit = tuple[ModuleType, str, str, str]
"""(module, function, what it says, what it shall say instead)."""

NEW_ENTRY = """    if order.leg is Leg.ENTRY and order.missing:
        from hands.core.commands import SubmitEntry
        from hands.core.orders import ApprovedEntry, client_order_id
        plan = ticket.plan
        order.status = OrderStatus.REJECTED
        again = ApprovedEntry(
            client_order_id=client_order_id(ticket.intent_id, Leg.ENTRY, 2), intent_id=ticket.intent_id,
            symbol=ticket.symbol, asset_class=plan.asset_class, side=plan.side, qty=plan.qty,
            limit_price=plan.limit_price, time_in_force=order.time_in_force, order_class=order.order_class,
            take_profit=plan.take_profit, stop_loss=plan.stop_loss, deadline_ns=ticket.deadline_ns,
        )
        out.append(SubmitEntry(entry=again))
        return
"""


class Bug(NamedTuple):
    """One bug: its edits, the scenario and departures of the search, and the invariants that may notice first."""

    edits: tuple[Edit, ...]
    scenario: str
    departures: int
    noticed_by: tuple[str, ...]


BUGS: dict[str, Bug] = {
    "an exit does not wait for the cancel of what rests": Bug(
        (
            (protection, "_exit", "    if cancel_resting(state, ticket, out):\n", "    if False:\n"),
            (protection, "_exit", "    if working:\n", "    if working and False:\n"),
            (exits, "_reducing", "    assert not any(order.is_live for order in ticket.exits)\n", ""),
        ),
        "coin-stop",
        1,
        ("asks for no more",),
    ),
    "a held stop counts although its group has ended": Bug(
        ((coverage, "_is_active", "    parent = ", "    return True\n    parent = "),),
        "bracket",
        1,
        ("no false belief", "never naked at rest"),
    ),
    "an entry that the venue denies knowing is sent again under a new id": Bug(
        ((protection, "_chase", "    ask(state, ticket, order, out)\n", NEW_ENTRY + "    ask(state, ticket, order, out)\n"),),
        "entry",
        1,
        ("one entry",),
    ),
    "an order whose fate is unknown is not asked for": Bug(
        ((protection, "_chase", "    ask(state, ticket, order, out)\n", "    return\n"),),
        "partial",
        1,
        ("comes home", "never naked at rest"),
    ),
    "a pending cancel counts as protection": Bug(
        ((coverage, "protected_qty", "order.status in acting or (", "order.status in {*acting, OrderStatus.PENDING_CANCEL} or ("),),
        "coin-stop",
        1,
        ("no false belief",),
    ),
    "a position that no stop can protect is not closed": Bug(
        ((protection, "_lost_protection", "    if any(order.leg is not Leg.EXIT for order in tried):", "    if not tried:"),),
        "coin-no-stop",
        1,
        ("comes home in time", "comes home", "never naked at rest"),
    ),
    "a fill that is reported twice counts twice": Bug(
        (
            (reports, "_merge_fills", "    grew = ", "    grew = execution is not None or "),
            (reports, "_merge_fills", "= report.filled_qty\n", "+= report.filled_qty if execution is None else execution.qty\n"),
        ),
        "bracket",
        2,
        ("comes home", "books agree at rest", "no more than owned"),
    ),
    "after a crash an order that was written down is taken for not sent": Bug(
        ((engine, "_started", "                order.status = OrderStatus.UNKNOWN\n", "                pass\n"),),
        "entry",
        1,
        ("comes home", "never naked at rest", "books agree at rest"),
    ),
    "the legs of a part-filled entry count as its protection": Bug(
        ((coverage, "_is_active", "    entry_filled = ", "    return True\n    entry_filled = "),
         (protection, "_protect", "if entry.status is not OrderStatus.FILLED or not", "if not")),
        "partial",
        1,
        ("no false belief", "never naked at rest"),
    ),
    "a lost cancel is not repeated": Bug(
        ((pursuit, "cancel", "    if order.cancel_ns is None or now - order.cancel_ns >= again_ns:", "    if order.cancel_ns is None:"),),
        "coin-target",
        1,
        ("comes home", "comes home in time"),
    ),
}  # fmt: skip


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the engine's functions as a bug says, wherever they have been imported."""
    texts: dict[tuple[ModuleType, str], str] = {}
    for module, name, old, new in bug.edits:
        text = texts.get((module, name)) or textwrap.dedent(inspect.getsource(getattr(module, name)))
        assert text.count(old) == 1, f"{module.__name__}.{name} does not say once: {old!r}"
        texts[module, name] = text.replace(old, new)
    for (module, name), text in texts.items():
        room = vars(module)
        was, made = room[name], dict[str, object]()
        exec(compile("from __future__ import annotations\n" + text, str(module.__file__), "exec"), room, made)
        for other in (coverage, engine, exits, protection, pursuit, reports):
            if vars(other).get(name) is was:
                monkeypatch.setattr(other, name, made[name])
        for event, handler in engine._HANDLERS.items():
            if handler is was:
                monkeypatch.setitem(engine._HANDLERS, event, made[name])
