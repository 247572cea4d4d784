"""Activities: what is posted when, how it is numbered, filtered and paged."""

from __future__ import annotations

import datetime as dt

import pytest

from hands.core.units import Ns, Price, Qty, nano
from hands.core.vocab import OrderStatus, Side
from hands.sim.server.activities import page
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import Fill
from hands.sim.venue.quirks import PLAIN, Quirks

DAY = dt.datetime(2026, 3, 10, 21, 30, 15, tzinfo=NEW_YORK)  # already the 11th in UTC
AT_FILL = Quirks(crypto_fees="at_fill")


def ns(moment: dt.datetime, nanos: int = 0) -> Ns:
    return Ns(int(moment.timestamp()) * 10**9 + nanos)


def fill(number: int, moment: dt.datetime = DAY, nanos: int = 0, fee: str = "0", **fields) -> Fill:
    values = {
        "execution_id": f"00000000-0000-4000-8000-{number:012d}",
        "order_id": "11111111-1111-4111-8111-111111111111",
        "client_order_id": "mine",
        "symbol": "AAPL",
        "side": Side.BUY,
        "qty": Qty(nano("2")),
        "price": Price(nano("150.5")),
        "fee": nano(fee),
        "fee_asset": "USD",
        "t_ns": ns(moment, nanos),
        "cum_qty": Qty(nano("2")),
        "leaves_qty": Qty(0),
        "status": OrderStatus.FILLED,
    }
    return Fill(**(values | fields))


BOUGHT = fill(1, fee="0.00025", symbol="BTC/USD", fee_asset="BTC")
SOLD = fill(2, fee="0.75", symbol="BTC/USD", side=Side.SELL)
LATER = DAY + dt.timedelta(days=2)


def test_a_fill_as_the_venue_writes_it() -> None:
    (row,) = page({}, None, [fill(1, nanos=123_456_789, leaves_qty=Qty(nano("1")))], PLAIN, ns(LATER))
    assert row == {
        "id": "20260310213015123::00000000-0000-4000-8000-000000000001",
        "activity_type": "FILL",
        "transaction_time": "2026-03-11T01:30:15.123457Z",
        "type": "partial_fill",
        "price": "150.5",
        "qty": "2",
        "side": "buy",
        "symbol": "AAPL",
        "leaves_qty": "1",
        "order_id": "11111111-1111-4111-8111-111111111111",
        "cum_qty": "2",
        "order_status": "filled",
    }


def test_the_ids_time_is_that_of_new_york_or_of_utc() -> None:
    utc = Quirks(activity_id_zone="utc")
    assert page({}, None, [fill(1)], utc, ns(LATER))[0]["id"].startswith("20260311013015000::")


def test_fees_as_the_venue_writes_them() -> None:
    cash, coin = page({}, "CFEE", [BOUGHT, SOLD], AT_FILL, ns(LATER))
    assert coin["id"].startswith("20260310000000000::")
    assert {key: value for key, value in coin.items() if key != "id"} == {
        "activity_type": "CFEE",
        "date": "2026-03-10",
        "created_at": "2026-03-11T01:30:15Z",
        "net_amount": "0",
        "description": "Coin Pair Transaction Fee (Non USD)",
        "currency": "USD",
        "status": "executed",
        "symbol": "BTCUSD",
        "qty": "-0.00025",
        "price": "150.5",
    }
    assert (cash["net_amount"], cash["description"]) == ("-0.75", "Coin Pair Transaction Fee (USD)")
    assert not {"symbol", "qty", "price", "order_id"} & set(cash)


def test_fees_are_posted_at_the_fill_or_when_the_day_is_over() -> None:
    midnight = ns(dt.datetime(2026, 3, 11, tzinfo=NEW_YORK))
    kinds = [row["activity_type"] for row in page({}, None, [BOUGHT], AT_FILL, ns(DAY))]
    assert sorted(kinds) == ["CFEE", "FILL"]
    assert [row["activity_type"] for row in page({}, None, [BOUGHT], PLAIN, midnight - 1)] == ["FILL"]
    fee = page({}, "CFEE", [BOUGHT], PLAIN, midnight)[0]
    assert (fee["date"], fee["created_at"]) == ("2026-03-10", "2026-03-11T04:00:00Z")


def numbers(query: dict[str, str], kind: str | None = None, fills=None, quirks: Quirks = PLAIN) -> list[int]:
    """Which fills are told of, a fee as 0."""
    fills = fills if fills is not None else [fill(n, DAY + dt.timedelta(hours=n)) for n in range(1, 6)]
    rows = page(query, kind, fills, quirks, ns(LATER))
    return [int(row["id"][-12:]) if row["activity_type"] == "FILL" else 0 for row in rows]


@pytest.mark.parametrize(
    ("query", "kind", "expected"),
    [
        ({}, None, [5, 4, 3, 2, 1]),
        ({"direction": "asc"}, None, [1, 2, 3, 4, 5]),
        ({"page_size": "2"}, None, [5, 4]),
        ({"after": "2026-03-11T03:30:15Z"}, None, [5, 4, 3]),
        ({"until": "2026-03-11T03:30:15Z"}, None, [1]),
        ({"after": "2026-03-11T02:30:15Z", "until": "2026-03-11T04:30:15Z"}, "FILL", [2]),
        ({"date": "2026-03-10"}, None, [2, 1]),
        ({"date": "2026-03-11"}, "FILL", [5, 4, 3]),
        ({"activity_types": "FILL,CFEE"}, None, [5, 4, 3, 2, 1]),
        ({"activity_types": "CFEE"}, None, []),
        ({"activity_types": "DIV"}, None, []),
        ({"category": "trade_activity"}, None, [5, 4, 3, 2, 1]),
        ({"category": "non_trade_activity"}, None, []),
        ({}, "CFEE", []),
    ],
)
def test_filters(query, kind, expected) -> None:
    assert numbers(query, kind) == expected


def test_misc_and_non_trade_are_where_fees_belong() -> None:
    for query in ({"activity_types": "MISC"}, {"category": "non_trade_activity"}, {"activity_types": "CFEE"}):
        assert numbers(query, fills=[BOUGHT, SOLD], quirks=AT_FILL) == [0, 0]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_join_without_gap_or_overlap(direction) -> None:
    fills = [fill(n, DAY + dt.timedelta(seconds=n // 3), fee="0.1") for n in range(1, 12)]
    query = {"direction": direction, "page_size": "4"}
    found: list[str] = []
    while rows := page(query, None, fills, AT_FILL, ns(LATER)):
        found += [row["id"] for row in rows]
        query["page_token"] = rows[-1]["id"]
    whole = page({"direction": direction}, None, fills, AT_FILL, ns(LATER))
    assert found == [row["id"] for row in whole]
    assert len(set(found)) == 22


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ({"activity_types": "FILL", "category": "trade_activity"}, None),
        ({"category": "other"}, None),
        ({"activity_types": "FILLS"}, None),
        ({}, "NOTHING"),
        ({"date": "2026-03-10", "after": "2026-03-09"}, None),
        ({"date": "soon"}, None),
        ({"page_size": "101"}, None),
        ({"page_size": "0"}, None),
        ({"direction": "up"}, None),
    ],
)
def test_refusals(query, kind) -> None:
    with pytest.raises(VenueError) as refused:
        page(query, kind, [fill(1)], PLAIN, ns(LATER))
    assert (refused.value.status, refused.value.code) == (422, 40010001)
