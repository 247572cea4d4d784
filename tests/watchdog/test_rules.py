"""What the watchdog would do: tables over what a venue shows, whole silences against the venue model, and one property.

The one idea: the venue model (`tests.core.venue_model`) refuses what the venue refuses, so a silence played against it ends
protected or flat, or the test fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.events import PositionSnapshot, VenueOrder
from hands.core.guard_sheet import Guarded, GuardSheet, decode_sheet, guarded_trades
from hands.core.orders import ReducingOrder, client_order_id, parse_client_order_id
from hands.core.reducing import Holding, reducing_order
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, nano
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.watchdog.rules import Bounds, Cancel, Episode, Seen, Submit, is_naked, next_step
from hands.watchdog.trades import Held, protected_qty, symbols_to_ask, trades_held
from tests.core.desk import Desk
from tests.core.test_protection import opened, partly
from tests.core.venue_model import Resting
from tests.core.world import asset, intent_id

BOUNDS = Bounds(unprotected_max_ns=2 * NS_PER_S, ttl_ns=15 * NS_PER_S)
S = OrderStatus


# --- silences against the venue model ------------------------------------------------------------------------


@dataclass
class Silence:
    """The engine of a desk is dead; the watchdog looks four times a second. `has_sheet` False: its file is gone; of its
    orders the first `lost` never arrive and are never answered."""

    desk: Desk
    has_sheet: bool = True
    quoted: bool = True
    mono_ns: int = 0
    silent_ns: int = 0
    beat_ns: int | None = None
    lost: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict)
    done: list[Cancel | Submit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sheet = sheet_of(self.desk) if self.has_sheet else None
        self.desk.crash()
        self.desk.down = True

    def helds(self) -> list[Held]:
        venue = self.desk.venue
        truth, day = venue.truth(self.desk.now_ns, ()), venue.day_orders(0)
        orders = {order.order_id: order for order in (*truth.orders, *day.orders)}
        assets = {name: asset(name) for name in ("AAPL", "SPY", "SOL/USD", "BTC/USD")}
        return trades_held(orders.values(), truth.positions, self.sheet, assets, beat_ns=self.beat_ns)

    def seen(self) -> Seen:
        quotes = {name: (Price(bid), Price(ask)) for name, (bid, ask) in self.desk.venue.quotes.items()}
        return Seen(
            mono_ns=self.mono_ns,
            silent_ns=self.silent_ns,
            wall_ns=self.desk.now_ns,
            session_open=self.desk.venue.is_open,
            quotes=quotes if self.quoted else {},
        )

    def look(self) -> None:
        for held in self.helds():
            episode = self.episodes.setdefault(held.intent_id, Episode())
            step = next_step(held, episode, self.seen(), BOUNDS)
            if isinstance(step, Cancel):
                self.done.append(step)
                self.desk.venue.cancel(step.order.order_id)
            elif isinstance(step, Submit):
                self.done.append(step)
                episode.sent(self.mono_ns, closes=step.closes)
                if self.lost:
                    self.lost -= 1
                    episode.unanswered(self.mono_ns)
                    continue
                found = self.desk.venue.submit(step.order)
                if isinstance(found, Resting):
                    self.desk.venue.try_fill(found)
                elif "must be unique" not in found[1]:
                    episode.failed(self.mono_ns)

    def last(self, seconds: float) -> Silence:
        for _ in range(int(seconds * 4)):
            self.look()
            self.mono_ns += 250 * NS_PER_MS
            self.desk.now_ns += 250 * NS_PER_MS
        return self

    @property
    def sent(self) -> list[ReducingOrder]:
        return [step.order for step in self.done if isinstance(step, Submit)]


def sheet_of(desk: Desk) -> GuardSheet:
    return GuardSheet(
        venue="sim", account="PA000001", written_ns=desk.now_ns, trades=guarded_trades(desk.state)
    )


def without_stop(desk: Desk, symbol: str) -> Desk:
    """The stop of a position is gone: its group ended at the venue."""
    for order in desk.venue.by_client.values():
        if order.live and order.symbol == symbol:
            desk.venue.end(order, S.CANCELED)
    return desk


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_what_is_protected_is_left_alone(symbol: str) -> None:
    silence = Silence(opened(symbol)).last(10)
    assert silence.done == []
    assert not silence.desk.venue.is_naked(symbol)


@pytest.mark.parametrize("has_sheet", [True, False])
@pytest.mark.parametrize(("symbol", "leg"), [("AAPL", Leg.TAKE_PROFIT), ("SOL/USD", Leg.STOP_LOSS)])
def test_a_lost_stop_is_placed_again_once_under_the_engines_own_next_id(
    symbol: str, leg: Leg, has_sheet: bool
) -> None:
    desk = opened(symbol)
    attempts, stop = desk.ticket().attempts.get(leg, 0), desk.ticket().stop_loss
    silence = Silence(without_stop(desk, symbol), has_sheet=has_sheet)
    silence.last(1.9)
    assert silence.done == []  # it may be naked for unprotected_max_ms
    silence.last(5)
    (order,) = silence.sent
    assert order.client_order_id == client_order_id(intent_id(1), leg, attempts + 1)
    assert not desk.venue.is_naked(symbol)
    assert order.stop_price == stop


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_a_refused_stop_is_followed_by_one_that_closes(symbol: str) -> None:
    desk = without_stop(opened(symbol), symbol)
    desk.venue.refuse = [(403, "no", {})]
    silence = Silence(desk).last(4)
    assert [order.leg for order in silence.sent][-1] is Leg.EXIT
    assert len(silence.sent) == 2
    assert desk.position(symbol) == "0"


def test_a_short_is_bought_back_and_its_stop_bought() -> None:
    desk = opened(desk=Desk(allow_short="true"), direction="SHORT")
    desk.venue.refuse = [(403, "no", {})]
    silence = Silence(without_stop(desk, "AAPL")).last(4)
    assert [(order.leg, order.side) for order in silence.sent] == [
        (Leg.TAKE_PROFIT, Side.BUY),
        (Leg.EXIT, Side.BUY),
    ]
    assert desk.position() == "0"


def test_a_stop_for_a_part_makes_room_for_one_for_all_of_it() -> None:
    desk = without_stop(opened("SOL/USD"), "SOL/USD")
    ticket = desk.ticket()
    holding = Holding(
        intent_id=intent_id(1), symbol="SOL/USD", asset_class=AssetClass.CRYPTO, qty=ticket.owned, lot=Qty(1)
    )
    part = reducing_order(
        holding,
        Leg.STOP_LOSS,
        2,
        ticket.owned // 2,
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        stop_price=ticket.stop_loss,
        limit_price=ticket.stop_loss,
    )
    desk.venue.submit(part)
    silence = Silence(desk).last(4)
    assert [type(step) for step in silence.done] == [Cancel, Submit]
    assert silence.sent[0].client_order_id == client_order_id(intent_id(1), Leg.STOP_LOSS, 3)
    assert not desk.venue.is_naked("SOL/USD")


def test_a_closing_order_that_works_is_left_to_work() -> None:
    desk = without_stop(opened("AAPL"), "AAPL")
    desk.venue.refuse = [(403, "no", {})]
    desk.venue.portion = lambda _order: 0
    silence = Silence(desk).last(10)
    assert [order.leg for order in silence.sent] == [Leg.TAKE_PROFIT, Leg.EXIT]
    assert not [step for step in silence.done if isinstance(step, Cancel)]


def test_coins_whose_market_is_through_the_stop_are_closed_at_once() -> None:
    desk = opened("SOL/USD")
    silence = Silence(without_stop(desk, "SOL/USD"))
    desk.venue.quotes["SOL/USD"] = nano("143.00"), nano("143.10")
    silence.last(4)
    assert [order.leg for order in silence.sent] == [Leg.EXIT]
    assert desk.position("SOL/USD") == "0"


def test_shares_are_not_closed_outside_the_session_but_protected_again() -> None:
    desk = without_stop(opened("AAPL"), "AAPL")
    desk.venue.is_open = False
    desk.venue.refuse = [(403, "no", {})]
    silence = Silence(desk).last(12)
    assert {order.leg for order in silence.sent} == {Leg.TAKE_PROFIT}
    assert len(silence.sent) == 2  # the refused one, and the same again under the same id
    assert len({order.client_order_id for order in silence.sent}) == 1


def test_a_partly_filled_entry_is_cancelled_and_what_was_filled_protected() -> None:
    desk = partly(Desk(), "10")
    desk.run(0.05)
    assert desk.position() == "10"
    silence = Silence(desk).last(4)
    assert [type(step) for step in silence.done] == [Cancel, Submit]
    assert desk.venue.covered("AAPL") == nano("10")


def test_coins_that_nobody_would_protect_are_not_bought() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop(1, "SOL/USD")
    desk.run(0.1)
    silence = Silence(desk).last(0.5)
    assert [type(step) for step in silence.done] == [Cancel]


@pytest.mark.parametrize("has_sheet", [True, False])
def test_an_entry_works_until_its_deadline_and_no_longer(has_sheet: bool) -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop(1, "AAPL", ttl_seconds=5)
    desk.run(0.1)
    silence = Silence(desk, has_sheet=has_sheet).last(4)
    assert silence.done == []
    silence.last(12 if not has_sheet else 2)  # without the sheet: the longest that the limits allow
    assert [type(step) for step in silence.done] == [Cancel]
    assert not desk.working()


def test_the_owners_coins_beside_ours_are_not_touched() -> None:
    desk = opened("SOL/USD")
    ours = desk.venue.positions["SOL/USD"]
    desk.venue.positions["SOL/USD"] = ours + nano("100")
    silence = Silence(without_stop(desk, "SOL/USD"))
    desk.venue.refuse = [(403, "no", {})]
    silence.last(6)
    assert desk.venue.positions["SOL/USD"] == nano("100")


def test_a_trade_that_the_sheet_calls_over_is_over() -> None:
    """The owner sold what we had, and bought the same again for himself: on no sheet, so nobody's business."""
    desk = opened("AAPL")
    silence = Silence(without_stop(desk, "AAPL"))
    silence.sheet = GuardSheet(
        venue="sim", account="PA000001", written_ns=desk.now_ns + 10 * NS_PER_S, trades=()
    )
    assert silence.last(10).done == []


def test_coins_of_which_nobody_tells_the_lot_are_looked_after_all_the_same() -> None:
    desk = without_stop(opened("SOL/USD"), "SOL/USD")
    truth = desk.venue.truth(desk.now_ns, ())
    (position,) = truth.positions
    few = msgspec.structs.replace(position, qty=Qty(NANO // 2))
    orders = [*truth.orders, *desk.venue.day_orders(0).orders]
    (held,) = trades_held(orders, (few,), None, {})
    seen = Seen(mono_ns=1, silent_ns=0, wall_ns=desk.now_ns, session_open=True, quotes={})
    assert is_naked(held, seen)


def test_the_lot_of_a_trade_is_asked_for_also_where_another_of_its_symbol_is_on_the_sheet() -> None:
    desk = opened("SOL/USD")
    orders = desk.venue.day_orders(0).orders
    sheet = sheet_of(desk)
    assert symbols_to_ask(orders, sheet) == set()
    (trade,) = sheet.trades
    others = msgspec.structs.replace(trade, intent_id=intent_id(9))
    assert symbols_to_ask(orders, msgspec.structs.replace(sheet, trades=(others,))) == {"SOL/USD"}
    assert symbols_to_ask(orders, None) == {"SOL/USD"}


def test_its_own_restart_half_way_changes_nothing() -> None:
    desk = without_stop(opened("SOL/USD"), "SOL/USD")
    silence = Silence(desk)
    for _ in range(12):
        silence.last(1)
        if silence.sent:
            silence.episodes.clear()
    assert len(silence.sent) == 1
    assert not desk.venue.is_naked("SOL/USD")


def sheet_with(silence: Silence, **facts: Any) -> None:
    """The sheet says something else of its one trade."""
    assert silence.sheet is not None
    (trade,) = silence.sheet.trades
    trades = (msgspec.structs.replace(trade, **facts),)
    silence.sheet = msgspec.structs.replace(silence.sheet, trades=trades)


def test_shares_without_a_target_get_a_plain_stop() -> None:
    silence = Silence(without_stop(opened("AAPL"), "AAPL"))
    sheet_with(silence, target=None)
    silence.last(8)
    (order,) = silence.sent
    assert (order.leg, order.order_type, order.order_class) == (
        Leg.STOP_LOSS,
        OrderType.STOP,
        OrderClass.SIMPLE,
    )
    assert not silence.desk.venue.is_naked("AAPL")


def test_coins_whose_stop_has_no_known_limit_are_closed() -> None:
    silence = Silence(without_stop(opened("SOL/USD"), "SOL/USD"))
    sheet_with(silence, stop_limit=None)
    silence.last(8)
    assert [order.leg for order in silence.sent] == [Leg.EXIT]
    assert silence.desk.position("SOL/USD") == "0"


def test_a_pair_that_is_done_for_the_day_is_left_alone_overnight_and_not_in_the_session() -> None:
    desk = partly(Desk(), "40")
    desk.run(2)
    desk.venue.is_open = False
    for order in desk.working():
        if order.limit is not None and order.stop is None:
            order.status = S.DONE_FOR_DAY
    silence = Silence(desk).last(8)
    assert silence.done == []
    desk.venue.is_open = True
    silence.last(8)
    assert silence.done


@pytest.mark.parametrize(
    "facts",
    [
        {"lot": Qty(0)},
        {"lot": Qty(-1)},
        {"stop": Price(0)},
        {"stop_limit": Price(-1)},
        {"price_increment": 0},
        {"attempts": {"sl": -3}},
        {"attempts": {"sl": 1 << 40}},
        {"received": Qty(-1)},
        {"entry_created_ns": Ns(-1)},
        {"entry_created_ns": Ns(1 << 63)},
        {"intent_id": "another"},
    ],
    ids=str,
)
def test_a_sheet_that_no_engine_would_write_is_none(facts: dict[str, Any]) -> None:
    silence = Silence(without_stop(opened("SOL/USD"), "SOL/USD"))
    assert decode_sheet(msgspec.json.encode(silence.sheet)) == silence.sheet
    sheet_with(silence, **facts)
    assert decode_sheet(msgspec.json.encode(silence.sheet)) is None
    silence.sheet = None
    silence.last(8)
    assert not silence.desk.venue.is_naked("SOL/USD")


@pytest.mark.parametrize(
    "facts",
    [
        {"symbol": "BTC/USD"},
        {"is_long": False},
        {"unprotected_max_ns": 1 << 60},
        {"received": Qty(1 << 80), "entry_filled": Qty(1 << 80)},
        {"attempts": {}},
        {"deadline_ns": Ns(0)},
    ],
    ids=str,
)
def test_a_sheet_that_lies_is_no_reason_to_leave_a_position_bare_or_to_sell_more(
    facts: dict[str, Any],
) -> None:
    desk = opened("SOL/USD")
    desk.venue.positions["SOL/USD"] += nano("100")
    owned = desk.ticket().owned
    silence = Silence(without_stop(desk, "SOL/USD"))
    sheet_with(silence, **facts)
    silence.last(8)
    (order,) = silence.sent
    assert order.symbol == "SOL/USD"
    assert order.qty <= owned
    assert desk.venue.covered("SOL/USD") >= owned - 1


def test_an_entry_ends_by_the_limits_where_the_sheet_would_let_it_work_for_ever() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop(1, "AAPL", ttl_seconds=5)
    desk.run(0.1)
    silence = Silence(desk)
    sheet_with(silence, deadline_ns=Ns(1 << 62))
    assert [type(step) for step in silence.last(16).done] == [Cancel]


def test_a_trade_that_began_after_our_engines_last_beat_is_another_engines() -> None:
    desk = opened("AAPL")
    silence = Silence(without_stop(desk, "AAPL"))
    silence.sheet = GuardSheet(venue="sim", account="PA000001", written_ns=0, trades=())
    silence.beat_ns = desk.now_ns - 60 * NS_PER_S
    assert silence.last(10).done == []
    silence.beat_ns = desk.now_ns
    assert silence.last(10).sent


def test_a_trade_whose_prices_mean_nothing_any_more_is_on_no_sheet() -> None:
    desk = opened("AAPL")
    assert len(guarded_trades(desk.state)) == 1
    desk.ticket().basis = "a split"
    assert guarded_trades(desk.state) == ()


def test_a_stop_limit_that_was_elected_has_its_time_to_fill_however_long_the_engine_is_silent() -> None:
    desk = opened("SOL/USD")
    silence = Silence(desk, silent_ns=3600 * NS_PER_S)
    desk.venue.quotes["SOL/USD"] = nano("143.00"), nano("143.10")
    assert silence.last(1.9).done == []
    assert silence.last(4).done


def test_a_bare_position_is_acted_upon_at_the_first_look_of_a_long_silence() -> None:
    silence = Silence(without_stop(opened("SOL/USD"), "SOL/USD"), silent_ns=3600 * NS_PER_S)
    assert len(silence.last(0.25).sent) == 1


def test_a_stop_that_nobody_answered_is_sent_once_more_under_its_id() -> None:
    silence = Silence(without_stop(opened("SOL/USD"), "SOL/USD"), lost=1)
    silence.last(8)
    first, second = silence.sent
    assert first.client_order_id == second.client_order_id
    assert first.leg is Leg.STOP_LOSS
    assert not silence.desk.venue.is_naked("SOL/USD")
    lost = Silence(without_stop(opened("SOL/USD"), "SOL/USD"), lost=2)
    lost.last(8)
    assert lost.sent[-1].leg is Leg.EXIT
    assert lost.desk.position("SOL/USD") == "0"


def test_a_stop_that_was_just_sent_may_take_a_moment_to_show() -> None:
    desk = without_stop(opened("SOL/USD"), "SOL/USD")
    silence = Silence(desk, silent_ns=3600 * NS_PER_S).last(0.25)
    (resting,) = desk.working("SOL/USD")
    resting.status = S.PENDING_NEW
    assert len(silence.last(0.25).done) == 1
    resting.status = S.NEW
    assert len(silence.last(8).done) == 1


def test_a_moved_leg_is_of_its_group_also_where_it_is_listed_on_its_own() -> None:
    silence = Silence(opened("AAPL"))
    (entry,) = [order for order in silence.desk.venue.day_orders(0).orders if order.legs]
    moved: list[VenueOrder] = []
    legs: list[VenueOrder] = []
    for leg in entry.legs:
        named = Leg.STOP_LOSS if leg.stop_price is not None else Leg.TAKE_PROFIT
        new = msgspec.structs.replace(
            leg,
            order_id=f"{leg.order_id}-new",
            client_order_id=client_order_id(intent_id(1), named, 1),
            replaces=leg.order_id,
            status=S.HELD if named is Leg.STOP_LOSS else S.NEW,
        )
        moved.append(new)
        legs.append(msgspec.structs.replace(leg, status=S.REPLACED))
    entry = msgspec.structs.replace(entry, legs=tuple(legs))
    positions = silence.desk.venue.truth(silence.desk.now_ns, ()).positions
    (held,) = trades_held([entry, *moved], positions, silence.sheet, {})
    assert protected_qty(held) == held.owned == nano("66")
    ended = [msgspec.structs.replace(order, status=S.CANCELED) for order in moved[:1]]
    rest = [order for order in moved if order.order_id != ended[0].order_id]
    (held,) = trades_held([entry, *ended, *rest], positions, silence.sheet, {})
    assert protected_qty(held) == 0


# --- the property: it can only reduce -------------------------------------------------------------------------

_QTY = st.integers(0, 50).map(lambda n: Qty(n * NANO // 2))
_PRICE = st.one_of(st.none(), st.integers(1, 300).map(lambda n: Price(n * NANO)))
_SYMBOLS = st.sampled_from(["AAPL", "SOL/USD"])
_USUALLY = st.sampled_from((True,) * 9 + (False,))
_MOSTLY = {intent_id(1): "AAPL", intent_id(2): "SOL/USD"}
_IDS = st.sampled_from(
    [
        *(client_order_id(intent_id(n), leg, attempt) for n in (1, 2) for leg in Leg for attempt in (1, 2)),
        "somebody's",
    ]
)


def _order(
    draw: Any, number: int, *, legs: int, name: str | None = None, side: Side | None = None
) -> VenueOrder:
    """Return some order; one of a trade of ours is mostly on the trade's symbol, and an entry mostly filled and over."""
    qty = draw(_QTY)
    name = name or (draw(_IDS) if legs else f"venue-{number}")
    named = parse_client_order_id(name)
    known = [s for s in S if s not in (S.UNSENT, S.UNKNOWN)]
    over = [s for s in known if s.is_terminal]
    status = draw(st.sampled_from((*over, *over, *over, *known, None)))
    filled = Qty(min(qty, draw(_QTY)))
    if named is not None and named[1] is Leg.ENTRY and draw(_USUALLY):
        status, filled = S.FILLED, qty
    usual = None if named is None else _MOSTLY[named[0]]
    return VenueOrder(
        order_id=f"o{number}",
        client_order_id=name,
        symbol=usual if usual is not None and draw(_USUALLY) else draw(_SYMBOLS),
        side=side if side is not None and draw(_USUALLY) else draw(st.sampled_from(Side)),
        order_type=draw(st.sampled_from([OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT])),
        order_class=draw(st.sampled_from([OrderClass.SIMPLE, OrderClass.BRACKET, OrderClass.OCO])),
        status=status,
        status_text="",
        qty=qty,
        filled_qty=filled,
        limit_price=draw(_PRICE),
        stop_price=draw(_PRICE),
        submitted_ns=Ns(draw(st.integers(0, 100)) * NS_PER_S),
        legs=tuple(_order(draw, number * 10 + n, legs=0) for n in range(draw(st.integers(0, legs)))),
    )


@st.composite
def _truths(draw: Any) -> tuple[list[VenueOrder], list[PositionSnapshot], GuardSheet | None, Seen]:
    signs = {name: draw(st.sampled_from((-1, 1))) for name in _MOSTLY.values()}
    orders = [
        _order(
            draw,
            number,
            legs=2,
            name=client_order_id(name, Leg.ENTRY, 1),
            side=Side.BUY if signs[symbol] > 0 else Side.SELL,
        )
        for number, (name, symbol) in enumerate(_MOSTLY.items(), 1)
        if draw(_USUALLY)
    ]
    orders += [_order(draw, n + 5, legs=2) for n in range(draw(st.integers(0, 3)))]
    positions = [
        PositionSnapshot(symbol=name, qty=qty, qty_available=qty, avg_price=Price(NANO))
        for name in _MOSTLY.values()
        for qty in (Qty((1 if draw(_USUALLY) else -1) * signs[name] * draw(_QTY)),)
    ]
    sheet = None
    if draw(st.booleans()):
        symbols = list(_MOSTLY.values()) if draw(_USUALLY) else draw(st.lists(_SYMBOLS, max_size=2))
        trades = tuple(
            Guarded(
                intent_id=intent_id(n + 1),
                symbol=symbol,
                asset_class=AssetClass.CRYPTO if "/" in symbol else AssetClass.EQUITY,
                is_long=signs[symbol] > 0 if draw(_USUALLY) else draw(st.booleans()),
                entry_id=client_order_id(intent_id(n + 1), Leg.ENTRY, 1),
                entry_created_ns=Ns(0),
                deadline_ns=Ns(draw(st.integers(0, 100)) * NS_PER_S),
                entry_filled=draw(_QTY),
                received=draw(_QTY),
                written_off=draw(_QTY),
                lot=Qty(draw(st.sampled_from([1, NANO]))),
                price_increment=draw(st.sampled_from([None, 1_000_000])),
                stop=Price(draw(st.integers(1, 300)) * NANO),
                stop_limit=draw(_PRICE),
                target=Price(draw(st.integers(1, 300)) * NANO),
                attempts={"tp": draw(st.integers(0, 3))},
                unprotected_max_ns=0,
            )
            for n, symbol in enumerate(symbols)
        )
        sheet = GuardSheet(
            venue="sim", account="x", written_ns=draw(st.integers(0, 100)) * NS_PER_S, trades=trades
        )
    quote = draw(st.one_of(st.none(), st.tuples(st.integers(1, 300), st.integers(1, 300))))
    seen = Seen(
        mono_ns=100 * NS_PER_S,
        silent_ns=90 * NS_PER_S,
        wall_ns=draw(st.integers(0, 200)) * NS_PER_S,
        session_open=draw(st.booleans()),
        quotes={} if quote is None else {"SOL/USD": (Price(quote[0] * NANO), Price(quote[1] * NANO))},
    )
    return orders, positions, sheet, seen


def test_whatever_the_venue_shows_every_order_makes_the_position_smaller() -> None:
    made: list[ReducingOrder] = []

    @given(_truths(), st.booleans(), st.booleans())
    def holds(
        truth: tuple[list[VenueOrder], list[PositionSnapshot], GuardSheet | None, Seen],
        tried: bool,
        closed: bool,
    ) -> None:
        orders, positions, sheet, seen = truth
        left = {position.symbol: int(position.qty) for position in positions}
        strangers = {order.order_id for order in orders if order.client_order_id == "somebody's"}
        for held in trades_held(orders, positions, sheet, {}):
            step = next_step(held, Episode(tried=tried, closings=int(closed)), seen, BOUNDS)
            if isinstance(step, Cancel):
                assert step.order.order_id not in strangers
            elif isinstance(step, Submit):
                order = step.order
                made.append(order)
                assert order.leg is not Leg.ENTRY
                signed = order.qty if order.side is Side.BUY else -order.qty
                before = left[order.symbol]
                assert before * signed < 0, "against the position"
                assert abs(signed) <= abs(before), "at most what is there"
                assert order.qty <= held.owned
                assert is_naked(held, seen)
                left[order.symbol] = before + signed

    holds()
    assert len(made) >= 10, "enough truths have to ask for an order, or this says nothing"


@given(_truths())
def test_all_our_trades_together_are_never_more_than_the_venues_position(
    truth: tuple[list[VenueOrder], list[PositionSnapshot], GuardSheet | None, Seen],
) -> None:
    orders, positions, sheet, _ = truth
    held = trades_held(orders, positions, sheet, {})
    for position in positions:
        for long in (True, False):
            ours = sum(one.owned for one in held if one.symbol == position.symbol and one.is_long is long)
            there = max(0, position.qty if long else -position.qty)
            assert ours <= there


def test_a_pair_counts_once_and_a_held_leg_only_while_its_group_is_active() -> None:
    held = Silence(opened("AAPL")).helds()[0]
    assert protected_qty(held) == held.owned == nano("66")
    (entry,) = [order for order in held.parents.values() if order.client_order_id.endswith("-entry-1")][:1]
    ended = msgspec.structs.replace(entry, status=S.CANCELED)
    dead = msgspec.structs.replace(held, parents=dict.fromkeys(held.parents, ended))
    legs = tuple(
        msgspec.structs.replace(leg, status=S.HELD) for leg in entry.legs if leg.stop_price is not None
    )
    assert protected_qty(msgspec.structs.replace(dead, exits=legs)) == (
        nano("66") if any(leg.status is S.NEW for leg in entry.legs) else 0
    )
