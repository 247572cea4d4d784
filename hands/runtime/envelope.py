"""The envelope of a symbol: what would be admissible now, before anything is written.

Owns the answer behind `hands envelope`: a made-up document per direction, in the middle of what `leeway` leaves, is held
against every check. May not change anything. The one idea: what blocks is whatever even that document is denied for;
what is left are the spans, each end with the code that answers beyond it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hands.core.case import Case, Denial
from hands.core.intents import Intent
from hands.core.leeway import Edge, Leeway, Span
from hands.core.nearest import PRICES
from hands.core.receipts import finding_row, time_text
from hands.core.risk import CHECKS
from hands.core.sizing import size, sized_qty
from hands.core.state import State
from hands.core.units import NANO, NS_PER_MS, Ns, Price, Ratio, decimal_text, mul_floor, usd_text
from hands.core.vocab import Code, Direction

Document = dict[str, Any]

DIRECTIONS = frozenset({Code.SHORT_NOT_ALLOWED, Code.LONG_NOT_ALLOWED})
CAPS = frozenset(
    {Code.DAILY_LOSS, Code.AGENT_BUDGET, Code.ORDER_NOTIONAL, Code.GROSS_EXPOSURE, Code.BUYING_POWER}
)
PROBE_ID = "00000000-0000-4000-8000-000000000000"
COUNTERS = (
    "concurrent",
    "daily_trades",
    "order_rate",
    "daily_loss",
    "agent_budget",
    "gross_exposure",
    "buying_power",
)


def envelope(
    state: State, symbol: str, agent: str, now_ns: int, *, trigger: int | None = None, stop: int | None = None
) -> Document:
    """Return what would be admissible of `symbol` at `now_ns`; at the market's price, unless `trigger` says another.

    For the targets and sizes a stop is needed: `stop`, or else both ends of the stops that are admissible.
    """
    ways = {way: _Way(state, symbol, agent, now_ns, way, trigger) for way in Direction}
    case = ways[Direction.LONG].case
    limits, account, sides = case.limits, state.account, case.two_sided
    book = state.agents.get(agent)
    return {
        "symbol": symbol,
        "agent": agent,
        "at": time_text(now_ns + state.wall_offset_ns),
        "state": str(state.trading_state),
        "limits_sha256": state.limits.sha256,
        "market": {
            "bid": None if sides is None else decimal_text(sides[0], 2),
            "ask": None if sides is None else decimal_text(sides[1], 2),
            "age_ms": _ms(case.quote_age_ns),
        },
        "account": {
            "equity": None if account is None else usd_text(account.equity),
            "age_ms": None if account is None else _ms(now_ns - account.asked_ns),
        },
        "document": {
            "ttl_seconds_max": decimal_text(limits.ttl_seconds),
            "arm_seconds_max": decimal_text(limits.max_arm_seconds),
            "confidence_min": decimal_text(limits.min_confidence),
            "reward_risk_min": decimal_text(limits.min_reward_risk),
            "faults": 0 if book is None else book.faults,
            "faults_latch": limits.rejections_latch,
        },
        "counters": ways[Direction.LONG].counters(),
        "directions": {str(name): way.document(stop) for name, way in ways.items()},
    }


class _Way:
    """One direction of a symbol, at one trigger price."""

    def __init__(
        self, state: State, symbol: str, agent: str, now_ns: int, way: Direction, trigger: int | None
    ) -> None:
        self._state = state
        self._agent = agent
        self._now_ns = now_ns
        limits = state.limits.effective(agent, symbol)
        self._probe = Intent(
            intent_id=PROBE_ID,
            asset=symbol,
            direction=way,
            trigger_price=Price(NANO),
            take_profit=Price(NANO),
            stop_loss=Price(NANO),
            confidence=Ratio(NANO),
            strategy_ref="envelope",
            timestamp_ns=Ns(now_ns + state.wall_offset_ns),
            ttl_ns=Ns(max(1, limits.ttl_seconds)),
        )
        self.case = self._case_of(self._probe)
        self._leeway = Leeway(self.case)
        self._triggers = self._leeway.trigger()
        sides = self.case.two_sided
        market = None if sides is None else sides[1] if self._probe.is_long else sides[0]
        self._trigger = trigger if trigger is not None else market
        """What is looked at: as asked, else where `hands new` would put it."""

    def _case_of(self, intent: Intent, *, arming: bool = False) -> Case:
        deadline_ns = self._now_ns + intent.ttl_ns
        return Case(self._state, intent, self._agent, self._now_ns, deadline_ns, arming=arming, new=False)

    def _with(self, trigger: int, stop: int, target: int) -> Case:
        changes = {"trigger_price": trigger, "stop_loss": stop, "take_profit": target}
        return self._case_of(msgspec.structs.replace(self._probe, **changes))

    def counters(self) -> Document:
        """Return what has been used up of each count and budget, and how much of it there is."""
        rows = {}
        case = self._best()
        for check in CHECKS:
            if check.name in COUNTERS:
                result = check.judge(case)
                row = finding_row(result.finding if isinstance(result, Denial) else result)
                if row["check"] == check.name:
                    rows[check.name] = {"observed": row["observed"], "limit": row["limit"]}
        return rows

    def _stop_ends(self) -> tuple[int, int] | None:
        """Return the admissible stops nearest to and furthest from the entry."""
        if self._trigger is None:
            return None
        span = self._leeway.stop(self._trigger, None)
        if span.is_empty or span.low is None or span.high is None:
            return None
        ends = span.high.price, span.low.price
        return ends if self._probe.is_long else ends[::-1]

    def _best(self) -> Case:
        """Return the document that risks least: the closest stop, the nearest target."""
        if self._trigger is None:
            return self.case
        span = self._leeway.stop(self._trigger, None)
        inner = span.high if self._probe.is_long else span.low
        stop = self._trigger if inner is None else inner.price
        return self._with(self._trigger, stop, self._leeway.target(self._trigger, stop).nearest(stop) or stop)

    def _blocks(self) -> list[Document]:
        """Return every "no" to the best document there is; without prices to put in, only what is not about prices."""
        case = self._best()
        found: list[Document] = []
        state = self._state
        over = state.limits.turned_away(self._agent, self._now_ns + state.wall_offset_ns)
        if over is not None:  # its documents are not even read
            found.append(
                {
                    "check": "agent",
                    "code": str(over.code),
                    "message": over.message,
                    "retry": "never",
                    "retry_at": None,
                }
            )
        barred = any(isinstance(check.judge(case), Denial) for check in CHECKS if check.code in DIRECTIONS)
        for check in CHECKS:
            if check.code in PRICES and (barred or self._trigger is None):
                continue
            if check.name == "order_size" and found and found[-1]["code"] in CAPS:
                continue  # the cap that leaves less than one order has answered
            result = check.judge(case)
            if isinstance(result, Denial) and result.finding.check == check.name:
                at_ns = result.retry_at_ns
                found.append(
                    {
                        "check": check.name,
                        "code": str(check.code),
                        "message": result.message,
                        "retry": str(result.retry),
                        "retry_at": None if at_ns is None else time_text(at_ns + self._state.wall_offset_ns),
                    }
                )
        return found

    def document(self, stop: int | None) -> Document:
        blocks = self._blocks()
        whole: Document = {"admissible": not blocks, "blocks": blocks}
        if self._trigger is None or any(block["code"] in DIRECTIONS for block in blocks):
            return whole
        ends = self._stop_ends()
        stops = [stop] if stop is not None else list(dict.fromkeys(ends or ()))
        touch = self._leeway_of_touch().trigger()
        return whole | {
            "trigger_price": _span(self._triggers),
            "touch_trigger_price": _span(touch),
            "at": {
                "trigger_price": decimal_text(self._trigger, 2),
                "limit_price": decimal_text(self._leeway.limit_price(self._trigger), 2),
            },
            "stop_loss": _span(self._leeway.stop(self._trigger, None)),
            "with_stop": [self._with_stop(each) for each in stops],
        }

    def _leeway_of_touch(self) -> Leeway:
        return Leeway(self._case_of(self._probe, arming=True))

    def _with_stop(self, stop: int) -> Document:
        """Return the targets and the largest order that go with one stop."""
        assert self._trigger is not None
        targets = self._leeway.target(self._trigger, stop)
        case = self._with(self._trigger, stop, targets.nearest(self._trigger) or stop)
        row: Document = {"stop_loss": decimal_text(stop, 2), "take_profit": _span(targets), "size": None}
        if case.terms is None or case.asset is None:
            return row
        sizing = size(case, case.terms)
        qty = sized_qty(sizing)
        row["size"] = {
            "qty": decimal_text(qty),
            "binding": sizing.binding,
            "caps": {name: decimal_text(cap) for name, cap in sizing.caps.items()},
            "risk_usd": usd_text(mul_floor(case.terms.unit_risk, qty)),
            "notional_usd": usd_text(mul_floor(case.terms.limit_price, qty)),
        }
        return row


def _span(span: Span) -> Document:
    return {"min": _edge(span.low), "max": _edge(span.high), "empty": span.is_empty}


def _edge(edge: Edge | None) -> Document | None:
    return None if edge is None else {"price": decimal_text(edge.price, 2), "beyond": str(edge.code)}


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / NS_PER_MS, 1)
