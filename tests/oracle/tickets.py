"""The history of a scenario as the engine keeps it: trades and accepted intents become tickets and orders.

Owns that translation. What an approval worked out at its time (the worst exit, the risk of one unit) is the oracle's
arithmetic, since nothing else says what it was.
"""

from __future__ import annotations

from decimal import Decimal

from hands.core.intents import Intent
from hands.core.orders import client_order_id
from hands.core.state import State
from hands.core.ticket import Order, Plan, Ticket
from hands.core.units import NANO, Ns, Price, Qty, Ratio, Usd
from hands.core.vocab import (
    AssetClass,
    Direction,
    Leg,
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradeState,
    Verdict,
)
from tests.core.world import intent_id
from tests.oracle.reckoning import CRYPTO_FEE, ceil_to, worst_exit
from tests.oracle.scenario import SECOND, Idea, Scenario, Trade

D = Decimal


def nano(value: Decimal) -> int:
    """Return a decimal in nano-units; it must be one exactly."""
    whole = value * NANO
    assert whole == int(whole), value
    return int(whole)


def stored_prices(idea: Idea) -> tuple[int, int, int]:
    """Return an accepted intent's prices as the engine keeps them: in cents, below ten dollars in nano-units."""
    unit = D(100) if idea.trigger >= 10 else D(NANO)
    trigger, stop, target = (int(price * unit) for price in (idea.trigger, idea.stop, idea.target))
    return trigger, stop, target


def order_of(
    state: State, t: Trade, leg: Leg, qty: Decimal, filled: Decimal, price: Decimal, status: str
) -> Order:
    entry = leg is Leg.ENTRY
    buys = t.long == entry
    return Order(
        client_order_id=client_order_id(intent_id(t.number), leg, 1),
        intent_id=intent_id(t.number),
        leg=leg,
        symbol=t.symbol,
        side=Side.BUY if buys else Side.SELL,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.SIMPLE if t.crypto or not entry else OrderClass.BRACKET,
        time_in_force=TimeInForce.GTC,
        qty=Qty(nano(qty)),
        limit_price=Price(nano(t.limit)),
        status=OrderStatus(status),
        order_id=f"venue-{t.number}-{leg}",
        filled_qty=Qty(nano(filled)),
        avg_price=Price(nano(price)) if filled else None,
        value=Usd(int(filled * price * NANO)),
        created_ns=Ns(state.now_ns - 60 * SECOND),
        sent_ns=Ns(state.now_ns - 60 * SECOND),
        acked_ns=None if t.known_ago_ns is None or not entry else Ns(state.now_ns - t.known_ago_ns),
    )


def add_trade(state: State, s: Scenario, t: Trade) -> None:
    """Put a trade of ours into the book. What its plan says of risk is what its approval worked out then."""
    worst = worst_exit(s, t.symbol, t.stop)
    fee = CRYPTO_FEE if t.crypto else D(0)
    unit = abs(t.limit - worst) + ceil_to((t.limit + worst) * fee, D("1e-9"))
    plan = Plan(
        asset_class=AssetClass.CRYPTO if t.crypto else AssetClass.EQUITY,
        side=Side.BUY if t.long else Side.SELL,
        qty=Qty(nano(t.qty)),
        limit_price=Price(nano(t.limit)),
        take_profit=Price(nano(t.target)),
        stop_loss=Price(nano(t.stop)),
        worst_exit=Price(nano(worst)),
        unit_risk=Price(nano(unit)),
        lot=state.assets[t.symbol].lot,
        price_increment=state.assets[t.symbol].price_increment,
    )
    orders = [order_of(state, t, Leg.ENTRY, t.qty, t.filled, t.price, t.status)]
    if t.sold:
        orders.append(order_of(state, t, Leg.EXIT, t.sold, t.sold, t.sold_at, "filled"))
    asked = Intent(
        intent_id=intent_id(t.number),
        asset=t.symbol,
        direction=Direction(t.direction),
        trigger_price=plan.limit_price,
        take_profit=plan.take_profit,
        stop_loss=plan.stop_loss,
        confidence=Ratio(NANO),
        strategy_ref="test",
        timestamp_ns=Ns(state.now_ns - 60 * SECOND),
        ttl_ns=Ns(3600 * SECOND),
    )
    ticket = Ticket(
        intent=asked,
        agent=t.agent,
        name=f"{t.number}.json",
        document=b"",
        received_ns=Ns(state.now_ns - 60 * SECOND),
        deadline_ns=Ns(state.now_ns + 3600 * SECOND),
        limits_sha256=state.limits.sha256,
        verdict=Verdict.ACCEPTED,
        state=TradeState(t.state),
        plan=plan,
        orders={order.client_order_id: order for order in orders},
        received_qty=Qty(nano(t.received)),
        fee_rate=Ratio(nano(fee)),
        first_fill_ns=state.now_ns if t.filled else None,
        opened_ns=state.now_ns if t.filled else None,
    )
    if ticket.is_live:
        state.add(ticket)
    else:
        state.finished[ticket.intent_id] = ticket
    for order in orders:
        state.index_order(order)


def add_idea(state: State, s: Scenario, idea: Idea) -> None:
    """Put the ticket of an accepted intent where it would be by now."""
    if idea.fate in {"forgotten", "void"}:
        return
    filled = D(1) if idea.fate == "closed" else D(0)
    ended = {"closed": ("CLOSED", "filled"), "expired": ("EXPIRED", "canceled"), "armed": ("ARMED", "unsent")}
    word, status = ended[idea.fate]
    trade = Trade(
        number=idea.number,
        symbol=idea.symbol,
        direction=idea.direction,
        agent="default",
        qty=D(1),
        limit=idea.trigger,
        stop=idea.stop,
        target=idea.target,
        state=word,
        status=status,
        filled=filled,
        price=idea.trigger,
        received=filled,
        sold=filled,
        sold_at=idea.trigger,
    )
    add_trade(state, s, trade)
    if idea.fate == "armed":
        ticket = state.tickets[intent_id(idea.number)]
        ticket.plan, ticket.orders = None, {}
        state.touch(ticket)
