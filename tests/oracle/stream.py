"""A seeded stream of scenarios: most of them near a boundary, one in four or so admissible.

Owns chance. May not judge; where it needs an observed number to lay a limit on, it asks the oracle for it. The one idea:
first a scenario in which everything is comfortable (here), then up to three *pushes* (`tests.oracle.pushes`). `rng` may be
a `random.Random` or hypothesis' own, so that both walk the same tree.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random

from tests.oracle.reckoning import CRYPTO_FEE, NANO, floor_to
from tests.oracle.scenario import (
    MS,
    SECOND,
    Account,
    Agent,
    Day,
    Document,
    Instrument,
    Quote,
    Scenario,
    Session,
    Trade,
)

D = Decimal
START_NS = 1_767_625_200 * SECOND
"""2026-01-05 15:00 UTC: half an hour into Monday's regular session."""

NAMES = ("default", "a", "b")
TICK = {"BTC/USD": D("0.01"), "SOL/USD": D("0.001"), "DOGE/USD": None}
PRICE = {
    "AAPL": D(150), "SPY": D(600), "PENNY": D("0.98"),
    "BTC/USD": D(100_000), "SOL/USD": D(150), "DOGE/USD": D("0.12"),
}  # fmt: skip


def tick_of(symbol: str, price: Decimal) -> Decimal:
    return TICK.get(symbol) or (D("0.01") if price >= 1 else D("0.0001"))


# --- a comfortable world -----------------------------------------------------------------------------------------


def about(rng: Random, value: Decimal, spread: str = "0.05") -> Decimal:
    """Return a number near `value`, of as many decimals as chance likes."""
    factor = 1 + (D(rng.randrange(2_000_001)) / 1_000_000 - 1) * D(spread)
    return (value * factor).quantize(rng.choice((D("1"), D("0.01"), D("1e-4"), NANO)) if value > 10 else NANO)


def instrument(symbol: str) -> Instrument:
    if "/" not in symbol:
        return Instrument(lot=D(1), min_qty=D(1))
    lots = {"BTC/USD": NANO, "SOL/USD": NANO, "DOGE/USD": D("0.1")}
    least = {"BTC/USD": D("0.000015739"), "SOL/USD": D("0.01"), "DOGE/USD": D("80")}
    return Instrument(lot=lots[symbol], min_qty=least[symbol], increment=TICK[symbol])


def quote_of(rng: Random, symbol: str) -> Quote:
    price = about(rng, PRICE[symbol])
    step = tick_of(symbol, price)
    bid = floor_to(price, step)
    width = max(1, int(price * D(rng.choice(("0.00002", "0.0005", "0.002"))) / step))
    return Quote(bid, bid + step * width, age_ns=rng.choice((0, 0, 1, 40 * MS, 900 * MS)))


def document(rng: Random, symbol: str, quote: Quote, *, long: bool) -> Document:
    """Return a document that the market would take: trigger near the quote, an honest bracket around it."""
    near = quote.ask if long else quote.bid
    trigger = near * (1 + D(rng.randrange(-5, 12)) / 10_000 * (1 if long else -1))
    away = D(rng.choice(("0.04", "0.06", "0.1") if "/" in symbol else ("0.014", "0.02", "0.035", "0.1")))
    gain = away * D(rng.choice(("1.9", "2.2", "3")))
    sign = 1 if long else -1
    digits = rng.choice((2, 4, 6)) if near > 10 else rng.choice((5, 8))
    trigger, stop, target = (
        round(price, digits) for price in (trigger, near * (1 - away * sign), near * (1 + gain * sign))
    )
    return Document(
        number=1,
        asset=symbol,
        direction="LONG" if long else "SHORT",
        trigger=trigger,
        stop=stop,
        target=target,
        confidence=D(rng.randrange(60, 101)) / 100,
        ttl_s=D(rng.choice(("15", "10", "2.5"))),
        age_ns=rng.choice((0, 0, 20 * MS, 1_999 * MS, -500 * MS)),
    )


EQUITIES = ("AAPL", "SPY", "PENNY")
COINS = ("BTC/USD", "SOL/USD", "DOGE/USD")


def comfortable(rng: Random, hard: dict[str, Decimal], symbols: tuple[str, ...]) -> Scenario:
    symbol = rng.choice(symbols)
    long = "/" in symbol or rng.random() < 0.6
    quotes = {each: quote_of(rng, each) for each in PRICE}
    equity = about(rng, D(rng.choice((100_000, 100_000, 30_000, 2_500_000))))
    scenario = Scenario(
        now_ns=START_NS + rng.randrange(3600 * SECOND),
        document=document(rng, symbol, quotes[symbol], long=long),
        agent=rng.choice(NAMES),
        account=Account(equity=equity, buying_power=equity * 2, non_marginable=equity),
        day=Day(equity=equity),
        session=Session(),
        hard=dict(hard),
        instruments={each: instrument(each) for each in PRICE},
        quotes=quotes,
        wall_offset_ns=rng.choice((0, 0, 3600 * SECOND, -7 * MS)),
    )
    if rng.random() < 0.3:
        scenario.document.qty = about(rng, D(rng.choice((3, 40, 1000))), "0.5")
    if rng.random() < 0.4:
        scenario.agents = {
            "a": Agent({"max_position_size": D("0.05"), "max_daily_trades": D(3)}),
            "b": Agent(),
        }
    if scenario.agent != "default" and rng.random() < 0.98:
        scenario.agents.setdefault(scenario.agent, Agent())
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        add_trade(rng, scenario)
    if rng.random() < 0.3:
        touch(rng, scenario)
    return scenario


# --- history -----------------------------------------------------------------------------------------------------

FILLS = ("none", "none", "part", "part", "all", "all")
STATUS = {
    "none": ("new", "accepted", "pending_new", "unknown", "unsent", "pending_cancel"),
    "part": ("partially_filled", "unknown", "pending_cancel", "canceled"),
    "all": ("filled",),
}
STATE = {"none": ("WORKING",), "part": ("OPEN", "CLOSING", "FROZEN"), "all": ("OPEN", "CLOSING", "FROZEN")}


def add_trade(rng: Random, s: Scenario, symbol: str | None = None) -> Trade:
    """Add a trade of ours, in any state it can be in."""
    taken = {t.symbol for t in s.trades} | {s.document.asset}
    free = [each for each in PRICE if each not in taken] or list(PRICE)
    symbol = symbol or rng.choice(free)
    quote, crypto = s.quotes.get(symbol), "/" in symbol
    near = PRICE[symbol] if quote is None or min(quote.bid, quote.ask) <= 0 else quote.ask
    long = crypto or rng.random() < 0.6
    sign = 1 if long else -1
    step = tick_of(symbol, near)
    limit = floor_to(near * (1 + sign * D("0.001")), step)
    lot = s.instruments[symbol].lot
    equity = D(30_000)
    qty = max(lot, floor_to(equity * D(rng.choice(("0.01", "0.05", "0.09"))) / limit, lot))
    fill = rng.choice(FILLS)
    filled = {"none": D(0), "part": floor_to(qty * D("0.4"), lot), "all": qty}[fill]
    if fill == "part" and filled in {D(0), qty}:
        fill, filled = "all", qty
    received = floor_to(filled * (1 - CRYPTO_FEE), lot) if crypto else filled
    state, status = rng.choice(STATE[fill]), rng.choice(STATUS[fill])
    if fill == "none" and status == "unknown":
        state = "UNKNOWN"
    sold = D(0)
    if state == "CLOSING" and received:
        sold = floor_to(received * D(rng.choice(("0", "0.3"))), lot)
    trade = Trade(
        number=900 + len(s.trades),
        symbol=symbol,
        direction="LONG" if long else "SHORT",
        agent=rng.choice(NAMES),
        qty=qty,
        limit=limit,
        stop=floor_to(limit * (1 - sign * D("0.03")), step),
        target=floor_to(limit * (1 + sign * D("0.06")), step),
        state=state,
        status=status,
        filled=filled,
        price=limit - sign * step if filled else D(0),
        received=received,
        sold=sold,
        sold_at=floor_to(limit * D("0.99"), step) if sold else D(0),
        known_ago_ns=None if status in {"unsent", "unknown", "pending_new"} else 60 * SECOND,
    )
    if status in {"new", "filled"} and rng.random() < 0.3:
        trade.known_ago_ns = rng.choice((0, 1, 20 * MS)) + 1
        if s.account is not None:
            s.account.age_ns = rng.choice((0, 10 * MS, 3 * SECOND))
    s.trades.append(trade)
    if state != "ARMED":
        s.day.trades[trade.agent] = s.day.trades.get(trade.agent, 0) + 1
    return trade


def touch(rng: Random, s: Scenario) -> None:
    """Turn the document into a touch, and say what the market will be when it fires."""
    doc, quote = s.document, s.quotes.get(s.document.asset)
    doc.touch = True
    doc.arm_s = rng.choice((None, D(60), D(600)))
    if quote is None or rng.random() < 0.3:
        return
    near = s.quotes[doc.asset]
    step = near.ask - near.bid
    place = tick_of(doc.asset, doc.trigger)
    bid = floor_to(doc.trigger, place) - rng.choice((0, 0, 1, 2)) * place
    s.fires_at = Quote(max(place, bid), max(place, bid) + max(step, place))
