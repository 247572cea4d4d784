"""The nearest admissible intent: what a denied document's numbers would have had to be for it to pass every check.

Owns the search and the rule what "nearest" is; the checks alone say whether what was found passes. It may never
suggest another symbol or direction, more confidence, or a fresh timestamp for an idea that has grown old.

The rule: as few numbers as possible are changed, each as little as possible. Of the prices, the stop rather than the
target and the target rather than the trigger (`CHANGES` is that order); seconds and `qty` only where they are at fault
themselves. Prices land on the venue's tick, inside the limit. Where several prices would have to move, none may move by
more than `max_stop_distance`: further off it is another idea, or another unit. A document whose stop and target are both
on the wrong side contradicts its direction, and is not turned round. The one idea: `leeway` proposes and `judge` disposes: a
suggestion is shown only after the same checks, on the same state, have let it pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hands.core.case import Case
from hands.core.intents import Intent
from hands.core.leeway import Leeway
from hands.core.members import parse_time_ns
from hands.core.receipts import time_text
from hands.core.risk import CHECKS, Check, Judgement, judge
from hands.core.sizing import smallest_qty
from hands.core.state import State
from hands.core.ticket import Suggestion
from hands.core.units import NANO, NS_PER_S, Ns, Price, decimal_text, nano
from hands.core.vocab import Code

PER_SECOND_MAX = 50
"""How many suggestions are looked for in one second; each takes up to a millisecond of the engine's thread."""

SECONDS = frozenset({Code.FUTURE_TIMESTAMP, Code.TTL_TOO_LONG})
PRICES = frozenset(
    {
        Code.BRACKET_GEOMETRY, Code.PRICE_COLLAR, Code.SLIPPAGE, Code.STOP_TOO_FAR, Code.STOP_TOO_CLOSE,
        Code.REWARD_RISK_TOO_LOW, Code.DAILY_LOSS, Code.AGENT_BUDGET, Code.ORDER_NOTIONAL, Code.GROSS_EXPOSURE,
        Code.BUYING_POWER, Code.SIZE_TOO_SMALL, Code.VENUE_RULE,
    }
)  # fmt: skip
"""The codes of checks that other prices can satisfy. No number of a document cures any other."""

_CURABLE = SECONDS | PRICES

CHANGES: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "",
        "stop_loss",
        "take_profit",
        "trigger_price",
        "stop_loss take_profit",
        "stop_loss trigger_price",
        "take_profit trigger_price",
        "stop_loss take_profit trigger_price",
    )
)
"""Which prices may move, in the order in which it is tried."""


def may_suggest(state: State) -> bool:
    """Take one of this second's suggestions; False where there is none left, so that a flood cannot starve the loop."""
    second = state.now_ns // NS_PER_S
    since, count = state.suggested
    count = count if since == second else 0
    state.suggested = second, count + 1
    return count < PER_SECOND_MAX


def is_curable(judgement: Judgement) -> bool:
    """Whether another number could satisfy the check that said no."""
    return judgement.code in _CURABLE


def nearest(case: Case, judgement: Judgement, asked: tuple[Check, ...] = CHECKS) -> Suggestion | None:
    """Return the members to change in a denied document, with the values that would have passed; else None."""
    if not is_curable(judgement) or _is_upside_down(case.intent):
        return None
    search = _Search(case, asked)
    first = search.with_fit_seconds()
    for wanted in search.candidates(first):
        intent = search.as_read(wanted)
        if intent is None:
            continue
        code = search.code_of(intent)
        if code is Code.SIZE_TOO_SMALL and (intent := search.with_fit_qty(intent)) is not None:
            code = search.code_of(intent)
        if code is Code.OK and intent is not None:
            return search.changes(intent)
        if code not in PRICES:
            return None  # something stands in the way that no number moves
    return None


def _is_upside_down(intent: Intent) -> bool:
    low, high = intent.stop_loss, intent.take_profit
    if not intent.is_long:
        low, high = high, low
    return low > intent.trigger_price > high


class _Search:
    """One denied case and the variations of its document."""

    def __init__(self, case: Case, asked: tuple[Check, ...]) -> None:
        self._case = case
        self._asked = asked
        self._leeway = Leeway(case)
        fired = case.intent.entry == "touch" and not case.arming and asked is CHECKS
        self._arming = (case.arming, True) if fired else (case.arming,)
        """A touch that was denied when it fired would have to be armed again, and pass when it fires."""

    # --- variations --------------------------------------------------------------------------------------------

    def with_fit_seconds(self) -> Intent:
        """Return the document with seconds within the limits, and a timestamp that is neither ahead nor over."""
        case, intent, limits = self._case, self._case.intent, self._case.limits
        most = limits.ttl_seconds
        if intent.entry == "touch" and intent.arm_ns is None:
            most = min(most, limits.max_arm_seconds)  # without arm_seconds it waits as long as it may work
        ttl = min(intent.ttl_ns, most)
        arm = None if intent.arm_ns is None else min(intent.arm_ns, limits.max_arm_seconds)
        stamp = intent.timestamp_ns
        if stamp - case.wall_ns > limits.clock_skew_max_ms or stamp + ttl <= case.wall_ns:
            stamp = Ns(case.wall_ns)
        return msgspec.structs.replace(
            intent, ttl_ns=Ns(ttl), arm_ns=None if arm is None else Ns(arm), timestamp_ns=stamp
        )

    def candidates(self, intent: Intent) -> Iterator[Intent]:
        """Yield the document with its prices moved by each of `CHANGES` to where the leeway is."""
        before: Intent | None = None
        for free in CHANGES:
            moved = self._moved(intent, free)
            if moved is None or moved == before or (len(free) > 1 and not self._is_near(moved)):
                continue
            before = moved
            yield moved

    def _moved(self, intent: Intent, free: frozenset[str]) -> Intent | None:
        trigger, stop, target = intent.trigger_price, intent.stop_loss, intent.take_profit
        found: int | None
        if "trigger_price" in free:
            held_stop = None if "stop_loss" in free else stop
            held_target = None if "take_profit" in free else target
            found = self._leeway.trigger(held_stop, held_target).nearest(trigger)
            if found is None:
                return None
            trigger = Price(found)
        if "stop_loss" in free:
            held_target = None if "take_profit" in free else target
            found = self._leeway.stop(trigger, held_target).nearest(stop)
            if found is None:
                return None
            stop = Price(found)
        if "take_profit" in free:
            found = self._leeway.target(trigger, stop).nearest(target)
            if found is None:
                return None
            target = Price(found)
        return msgspec.structs.replace(intent, trigger_price=trigger, stop_loss=stop, take_profit=target)

    def _is_near(self, moved: Intent) -> bool:
        """Whether every price is still about where the document had it."""
        most = self._case.limits.max_stop_distance
        prices = ("trigger_price", "stop_loss", "take_profit")
        return all(
            abs(getattr(moved, name) - old) * NANO <= most * old
            for name in prices
            for old in (getattr(self._case.intent, name),)
        )

    def with_fit_qty(self, intent: Intent) -> Intent | None:
        """Return the document with the ceiling `qty` raised to the smallest order, where it is below that."""
        case = self._as_case(intent, arming=False)
        if intent.qty is None or case.terms is None:
            return None
        smallest = smallest_qty(case, case.terms)
        if intent.qty >= smallest:
            return None
        return self.as_read(msgspec.structs.replace(intent, qty=smallest))

    # --- what the checks say -----------------------------------------------------------------------------------

    def _as_case(self, intent: Intent, *, arming: bool) -> Case:
        """Return the case of a document that arrives now; its id is taken for a new one."""
        case = self._case
        born = min(intent.timestamp_ns - case.state.wall_offset_ns, case.now_ns)
        return Case(
            case.state, intent, case.agent, case.now_ns, born + intent.ttl_ns, arming=arming, new=False
        )

    def code_of(self, intent: Intent) -> Code:
        """Return what every check says of it, exactly as of any document."""
        for arming in self._arming:
            judgement = judge(self._as_case(intent, arming=arming), self._asked)
            if judgement.denial is not None:
                return judgement.code
        return Code.OK

    # --- as the agent will write it ----------------------------------------------------------------------------

    def as_read(self, wanted: Intent) -> Intent | None:
        """Return the document as it is read once the changes have been written as JSON; None where one cannot be."""
        changes = self.changes(wanted)
        values: dict[str, int] = {}
        for name, value in changes.items():
            field = _FIELDS[name]
            read = parse_time_ns(value) if isinstance(value, str) else nano(repr(value))
            if read <= 0:
                return None
            values[field] = read
        return msgspec.structs.replace(self._case.intent, **values)

    def changes(self, intent: Intent) -> Suggestion:
        """Return the members that differ from the denied document, as JSON values."""
        before = self._case.intent
        return {
            name: _json_value(name, getattr(intent, field))
            for name, field in _FIELDS.items()
            if getattr(intent, field) != getattr(before, field)
        }


_FIELDS = {
    "trigger_price": "trigger_price",
    "stop_loss": "stop_loss",
    "take_profit": "take_profit",
    "qty": "qty",
    "ttl_seconds": "ttl_ns",
    "arm_seconds": "arm_ns",
    "timestamp": "timestamp_ns",
}
"""The members that may be suggested, and what they are called once read."""


def _json_value(name: str, value: int) -> int | float | str:
    """Return a member's value: a time as text, a number that is read back as it is (whole ones without a point)."""
    if name == "timestamp":
        return time_text(value) or ""
    text = decimal_text(value)
    return float(text) if "." in text else int(text)
