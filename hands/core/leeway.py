"""What the checks leave room for: between which prices a trigger, a stop and a target may stand, for one case.

Owns the checks' inequalities solved for one price each, exactly, and rounded to the venue's tick *inside*. May not
approve: what is found here is held against the checks themselves by whoever uses it (`nearest`, `envelope`). The one
idea: with the others held still, what is admissible of one price is a single span, and each of its ends belongs to a
check; beyond the end, that check's code is the answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

import msgspec

from hands.core.case import Case, Terms, order_terms
from hands.core.sizing import Money, agent_left_usd, money, sizing_equity, smallest_qty
from hands.core.units import CENT, NANO, Price, ceil_to, div_ceil, floor_to, mul_floor
from hands.core.venue_rules import CRYPTO_MAX_NOTIONAL, fee_rate, price_tick
from hands.core.vocab import AssetClass, Code


class Edge(NamedTuple):
    """One end of a span: the last admissible price, and the code that answers beyond it."""

    price: int
    code: Code


class Span(NamedTuple):
    """The admissible prices, ends included; an end that is None is open."""

    low: Edge | None
    high: Edge | None

    @property
    def is_empty(self) -> bool:
        return self.low is not None and self.high is not None and self.low.price > self.high.price

    def nearest(self, wanted: int) -> int | None:
        """Return the admissible price nearest to `wanted`, None where there is none."""
        if self.is_empty:
            return None
        if self.low is not None and wanted < self.low.price:
            return self.low.price
        return self.high.price if self.high is not None and wanted > self.high.price else wanted


class Leeway:
    """The spans of one case. Prices go in as a document has them and come out as the venue's ticks.

    Only the case's market, limits and account are looked at, never the prices of its document.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._intent = case.intent
        self._limits = case.limits
        self._long = case.intent.is_long
        self._sign = 1 if self._long else -1
        self._is_equity = case.asset_class is AssetClass.EQUITY
        self._fee = fee_rate(case.asset_class)
        self._increment = None if case.asset is None else case.asset.price_increment
        self._tick = self._increment or 1
        self._lot = NANO if case.asset is None else case.asset.lot
        self._sides = None if case.arming else case.two_sided
        self._gap = (
            CENT if self._is_equity else int(self._sides is not None)
        )  # of stop and target from the limit
        self._risk_budgets: tuple[tuple[Code, int], ...] = ()
        self._notional_budgets: tuple[tuple[Code, int], ...] = ()
        if self._sides is not None and case.asset is not None:
            middle = self._sides[0]  # what is counted does not hang on the prices, as long as there are any
            priced = case.terms or self.terms(middle, middle, middle)
            if priced.limit_price <= 0:
                return
            counted = money(case, priced)
            self._risk_budgets = _risk_budgets(case, counted)
            self._notional_budgets = _notional_budgets(case, counted)

    # --- the order's prices ------------------------------------------------------------------------------------

    def terms(self, trigger: int, stop: int, target: int) -> Terms:
        """Return the order's prices for a document's three: `case`'s own rule."""
        intent = msgspec.structs.replace(
            self._intent, trigger_price=Price(trigger), stop_loss=Price(stop), take_profit=Price(target)
        )
        bid, ask = self._sides if self._sides is not None else (trigger, trigger)
        return order_terms(intent, self._case.asset_class, self._case.asset, bid, ask, self._limits)

    def limit_price(self, trigger: int) -> int:
        return self.terms(trigger, trigger, trigger).limit_price

    def _down(self, price: int) -> int:
        return floor_to(price, price_tick(self._case.asset_class, price, self._increment))

    def _up(self, price: int) -> int:
        return ceil_to(price, price_tick(self._case.asset_class, price, self._increment))

    def _span(self, lows: Iterable[Edge], highs: Iterable[Edge]) -> Span:
        """Return what all ends leave: each rounded inside first, and of equal ones the earlier check's."""
        low = max((Edge(self._up(price), code) for price, code in lows), key=_price, default=None)
        high = min((Edge(self._down(price), code) for price, code in highs), key=_price, default=None)
        return Span(low, high)

    # --- the stop ----------------------------------------------------------------------------------------------

    def stop(self, trigger: int, target: int | None) -> Span:
        """Return the stops that pass with this trigger, and with this target where one is given."""
        limit, sign, limits = self.limit_price(trigger), self._sign, self._limits
        inner, near = [Edge(trigger - sign, Code.BRACKET_GEOMETRY)], limit
        if self._sides is not None:
            near = min(limit, self._sides[0]) if self._long else max(limit, self._sides[1])
            inner.append(Edge(near - sign, Code.BRACKET_GEOMETRY))
        inner.append(
            Edge(limit - sign * div_ceil(limits.min_stop_distance * limit, NANO), Code.STOP_TOO_CLOSE)
        )
        if self._is_equity:
            inner.append(Edge(near - sign * CENT, Code.VENUE_RULE))
        outer = [Edge(limit - sign * (limits.max_stop_distance * limit // NANO), Code.STOP_TOO_FAR)]
        if target is not None and limits.min_reward_risk:
            reward = self.terms(trigger, trigger, target).unit_reward
            most = max(0, reward) * NANO // limits.min_reward_risk
            outer.append(Edge(self._stop_at_risk(limit, most), Code.REWARD_RISK_TOO_LOW))
        if self._is_equity:
            outer += [
                Edge(limit - sign * (usd * NANO // self._lot), code) for code, usd in self._risk_budgets
            ]
        if self._long:
            outer.append(Edge(self._stop_for_exit(1), Code.VENUE_RULE))
        span = self._span(outer, inner) if self._long else self._span(inner, outer)
        return span if self._is_equity else self._within_budgets(span, trigger)

    def _within_budgets(self, span: Span, trigger: int) -> Span:
        """Return the stops of a coin's `span` with which the smallest order fits every budget.

        The smallest order grows as the stop moves away from the entry, so the last one that fits is searched for.
        """
        low, high = span
        assert low is not None
        assert high is not None
        for budgets in (self._risk_budgets, self._notional_budgets):
            if not budgets:
                continue
            code, usd = min(budgets, key=itemgetter(1))

            def fits(price: int, usd: int = usd, of_risk: bool = budgets is self._risk_budgets) -> bool:
                terms = self.terms(trigger, price, trigger)
                each = max(1, terms.unit_risk) if of_risk else terms.limit_price
                return each * smallest_qty(self._case, terms) <= usd * NANO

            if low.price > high.price or fits(low.price):
                continue
            prices = range(low.price, high.price + 1, self._tick)
            if not fits(prices[-1]):
                return Span(Edge(high.price + self._tick, code), high)
            low = Edge(prices[bisect_left(prices, True, key=fits)], code)
        return Span(low, high)

    def _stop_at_risk(self, limit: int, most: int) -> int:
        """Return the stop at which one unit risks `most`, fees and the stop-limit's offset included."""
        if self._is_equity:
            return limit - self._sign * most
        fee = self._fee  # coins are only ever bought; limit - exit + ceil((limit + exit) x fee) <= most
        return self._stop_for_exit(div_ceil(limit * (NANO + fee) - most * NANO, NANO - fee))

    def _stop_for_exit(self, worst: int) -> int:
        """Return the stop whose worst exit is `worst`."""
        if self._is_equity:
            return worst
        exit_price = max(self._tick, ceil_to(worst, self._tick))
        return div_ceil(exit_price * NANO, NANO - self._limits.stop_limit_offset)

    # --- the target --------------------------------------------------------------------------------------------

    def target(self, trigger: int, stop: int) -> Span:
        """Return the targets that pass with this trigger and stop."""
        terms, sign = self.terms(trigger, stop, trigger), self._sign
        limit = terms.limit_price
        least = div_ceil(max(0, terms.unit_risk) * self._limits.min_reward_risk, NANO)
        if self._is_equity:
            rewarding = limit + sign * least
        else:  # target - limit - ceil((limit + target) x fee) >= least
            rewarding = div_ceil(limit * (NANO + self._fee) + least * NANO, NANO - self._fee)
        ends, far = [Edge(trigger + sign, Code.BRACKET_GEOMETRY)], limit
        if self._sides is not None:
            far = max(limit, self._sides[1]) if self._long else min(limit, self._sides[0])
            ends.append(Edge(far + sign, Code.BRACKET_GEOMETRY))
        ends.append(Edge(rewarding, Code.REWARD_RISK_TOO_LOW))
        if self._is_equity:
            ends.append(Edge(far + sign * CENT, Code.VENUE_RULE))
        return self._span(ends, ()) if self._long else self._span((Edge(1, Code.SCHEMA),), ends)

    # --- the trigger -------------------------------------------------------------------------------------------

    def trigger(self, stop: int | None = None, target: int | None = None) -> Span:
        """Return the triggers within the collar and the slippage, and with this stop and target where given."""
        lows, highs, sides = [], [], self._case.two_sided
        if sides is not None:
            twice, room = sides[0] + sides[1], (sides[0] + sides[1]) * self._limits.price_collar
            lows.append(Edge(max(1, div_ceil(twice * NANO - room, 2 * NANO)), Code.PRICE_COLLAR))
            highs.append(Edge((twice * NANO + room) // (2 * NANO), Code.PRICE_COLLAR))
        for price, behind in ((stop, True), (target, False)):
            if price is not None:
                above = behind is self._long
                (lows if above else highs).append(Edge(price + (1 if above else -1), Code.BRACKET_GEOMETRY))
        least, most = self._limit_edges(stop, target)
        lows += [Edge(at, code) for price, code in least if (at := self._trigger_at_least(price)) is not None]
        highs += [Edge(at, code) for price, code in most if (at := self._trigger_at_most(price)) is not None]
        return self._span(lows, highs)

    def _limit_edges(self, stop: int | None, target: int | None) -> tuple[list[Edge], list[Edge]]:
        """Return between which prices the order's limit must lie."""
        least: list[Edge] = []
        most: list[Edge] = []
        towards, away = (most, least) if self._long else (least, most)  # of the target, from the stop
        if self._sides is not None:
            away.append(Edge(self._sides[1] if self._long else self._sides[0], Code.SLIPPAGE))
        if stop is not None:
            self._edges_of_stop(stop, towards, away)
        if target is not None:
            at = self._down(target) if self._long else self._up(target)
            towards.append(Edge(at - self._sign * self._gap, Code.BRACKET_GEOMETRY))
            if stop is not None:
                towards.append(Edge(self._limit_for_reward(stop, at), Code.REWARD_RISK_TOO_LOW))
        if self._notional_budgets and self._sides is not None:
            # where the stop is free it may be the closest, with which the smallest order is smallest
            reference = stop if stop is not None else self._sides[0]
            smallest = smallest_qty(self._case, self.terms(reference, reference, reference))
            most += [Edge(budget * NANO // smallest, code) for code, budget in self._notional_budgets]
        return least, most

    def _edges_of_stop(self, stop: int, towards: list[Edge], away: list[Edge]) -> None:
        limits, sign = self._limits, self._sign
        terms = self.terms(stop, stop, stop)
        at = terms.stop_loss
        furthest, closest = NANO - sign * limits.max_stop_distance, NANO - sign * limits.min_stop_distance
        if furthest > 0:  # at most max_stop_distance from the limit, whichever side it is on
            towards.append(Edge(_rounded(at * NANO, furthest, up=not self._long), Code.STOP_TOO_FAR))
        if closest > 0:
            away.append(Edge(_rounded(at * NANO, closest, up=self._long), Code.STOP_TOO_CLOSE))
        away.append(Edge(at + sign * self._gap, Code.BRACKET_GEOMETRY))
        if self._risk_budgets:
            smallest = smallest_qty(self._case, terms)
            for code, budget in self._risk_budgets:
                most = budget * NANO // smallest
                if self._is_equity:
                    towards.append(Edge(at + sign * most, code))
                else:  # limit - exit + ceil((limit + exit) x fee) <= most, solved for the limit
                    exit_value = terms.worst_exit * (NANO - self._fee)
                    towards.append(Edge((most * NANO + exit_value) // (NANO + self._fee), code))

    def _limit_for_reward(self, stop: int, target: int) -> int:
        """Return the limit at which reward to risk is just enough (fees rounded up may cost two nanos more)."""
        worst, ratio, fee = self.terms(stop, stop, stop).worst_exit, self._limits.min_reward_risk, self._fee
        weighed = (NANO - fee) * (target * NANO + ratio * worst)
        return _rounded(weighed, (NANO + fee) * (NANO + ratio), up=not self._long)

    def _trigger_at_least(self, limit: int) -> int | None:
        """Return the lowest trigger whose limit price is at least `limit`; None where every trigger's is."""
        wanted, slip = self._up(limit), self._limits.max_slippage_pct
        if self._long:
            return div_ceil(wanted * NANO, NANO + slip)
        if self._sides is not None and self.limit_price(1) >= wanted:
            return None
        below = wanted - price_tick(self._case.asset_class, wanted - 1, self._increment)
        return below * NANO // (NANO - slip) + 1

    def _trigger_at_most(self, limit: int) -> int | None:
        """Return the highest trigger whose limit price is at most `limit`; None where every trigger's is."""
        wanted, slip = self._down(limit), self._limits.max_slippage_pct
        if not self._long:
            return wanted * NANO // (NANO - slip)
        if self._sides is not None and self.limit_price(2 * self._sides[1]) <= wanted:
            return None
        above = wanted + price_tick(self._case.asset_class, max(0, wanted), self._increment)
        return div_ceil(above * NANO, NANO + slip) - 1


def _price(edge: Edge) -> int:
    return edge.price


def _rounded(value: int, by: int, *, up: bool) -> int:
    return div_ceil(value, by) if up else value // by


def _risk_budgets(case: Case, counted: Money) -> tuple[tuple[Code, int], ...]:
    """Return what may be lost with one order, by the code that answers where it is too little."""
    used, allowed = counted.loss
    per_trade = mul_floor(sizing_equity(case.state), case.limits.max_risk_per_trade)
    return (Code.DAILY_LOSS, max(0, allowed - used)), (Code.SIZE_TOO_SMALL, per_trade)


def _notional_budgets(case: Case, counted: Money) -> tuple[tuple[Code, int], ...]:
    """Return what one order may cost, by the code that answers where it is too little."""
    used, allowed = counted.exposure
    budgets = [
        (Code.AGENT_BUDGET, agent_left_usd(case.state, case.agent)),
        (Code.ORDER_NOTIONAL, case.limits.max_order_notional_usd),
        (Code.GROSS_EXPOSURE, max(0, allowed - used)),
        (Code.BUYING_POWER, counted.power),
        (Code.SIZE_TOO_SMALL, mul_floor(sizing_equity(case.state), case.limits.max_position_size)),
        (Code.SIZE_TOO_SMALL, CRYPTO_MAX_NOTIONAL if case.is_crypto else None),
    ]
    return tuple((code, usd) for code, usd in budgets if usd is not None)
