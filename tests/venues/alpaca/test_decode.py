from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.events import PositionSnapshot
from hands.core.units import NANO, nano
from hands.core.vocab import AssetClass, OrderClass, OrderStatus, OrderType, Side
from hands.venues.alpaca import decode
from hands.venues.alpaca.decode import DecodeError

SLASHES = decode.slash_forms(["AAPL", "BTC/USD", "SOL/USD"])

# From the venue's published specification, verbatim but for the members nobody reads.
EQUITY_ORDER = {
    "asset_class": "us_equity",
    "canceled_at": None,
    "client_order_id": "5680c4bc-9ac1-4a12-a44c-df427ba53032",
    "created_at": "2023-12-12T22:31:24.668464435Z",
    "extended_hours": False,
    "filled_at": None,
    "filled_avg_price": None,
    "filled_qty": "0",
    "id": "7b08df51-c1ac-453c-99f9-323a5f075f0d",
    "legs": None,
    "limit_price": "150",
    "notional": None,
    "order_class": "",
    "order_type": "limit",
    "qty": "2",
    "replaced_by": None,
    "replaces": None,
    "side": "buy",
    "status": "accepted",
    "stop_price": None,
    "submitted_at": "2023-12-12T22:31:24.577215743Z",
    "symbol": "AAPL",
    "time_in_force": "gtc",
    "type": "limit",
}


def body(**changes):
    return json.dumps(EQUITY_ORDER | changes).encode()


def order(**changes):
    return decode.decode_order(body(**changes), SLASHES)


def test_an_order_of_the_specification():
    seen = order()
    assert seen.order_id == "7b08df51-c1ac-453c-99f9-323a5f075f0d"
    assert seen.client_order_id == "5680c4bc-9ac1-4a12-a44c-df427ba53032"
    assert (seen.symbol, seen.side, seen.order_type, seen.order_class) == (
        "AAPL",
        Side.BUY,
        OrderType.LIMIT,
        OrderClass.SIMPLE,
    )
    assert seen.status is OrderStatus.ACCEPTED
    assert (seen.qty, seen.filled_qty, seen.limit_price, seen.avg_price) == (2 * NANO, 0, 150 * NANO, None)
    assert seen.submitted_ns == 1702420284577215743
    assert seen.legs == ()


def test_numbers_come_as_text_or_as_json_numbers_and_never_through_a_float():
    text = body(qty="0.1", limit_price="150.149999999")
    number = text.replace(b'"0.1"', b"0.1").replace(b'"150.149999999"', b"150.149999999")
    assert decode.decode_order(text, SLASHES) == decode.decode_order(number, SLASHES)
    assert decode.decode_order(number, SLASHES).limit_price == 150_149_999_999
    assert order(filled_qty="0.1234567899", filled_avg_price=10**3).filled_qty == 123_456_789
    assert decode.decode_order(body().replace(b'"150"', b"1.5e2"), SLASHES).limit_price == 150 * NANO


def test_an_order_for_an_amount_of_money_has_no_quantity():
    assert order(qty=None, notional="100").qty == 0


@pytest.mark.parametrize(
    "missing", ["legs", "filled_avg_price", "stop_price", "replaces", "submitted_at", "order_type"]
)
def test_optional_members_may_be_absent(missing):
    fields = {name: value for name, value in EQUITY_ORDER.items() if name != missing}
    assert decode.decode_order(json.dumps(fields).encode(), SLASHES).order_id == EQUITY_ORDER["id"]


@pytest.mark.parametrize(
    "status", [s for s in OrderStatus if s not in {OrderStatus.UNSENT, OrderStatus.UNKNOWN}]
)
def test_every_status_of_the_venue_is_known(status):
    assert order(status=str(status)).status is status


@pytest.mark.parametrize("word", ["unknown", "unsent", "teleported", "NEW"])
def test_an_unknown_status_is_kept_as_text(word):
    seen = order(status=word)
    assert seen.status is None
    assert seen.status_text == word


def test_an_unknown_type_or_class_makes_the_status_unknown_too():
    seen = order(type="peg_to_mid", status="new")
    assert seen.status is None
    assert "peg_to_mid" in seen.status_text
    assert order(order_class="otoco").status is None


@pytest.mark.parametrize(
    ("symbol", "asset_class", "expected"),
    [
        ("BTCUSD", "crypto", "BTC/USD"),
        ("BTC/USD", "crypto", "BTC/USD"),
        ("DOGEUSDT", "crypto", "DOGE/USDT"),
        ("USD", "crypto", "USD"),
        ("BTCUSD", None, "BTC/USD"),
        ("BTCUSD", "us_equity", "BTCUSD"),
        ("AAPL", "us_equity", "AAPL"),
    ],
)
def test_pairs_get_their_slash_back(symbol, asset_class, expected):
    assert order(symbol=symbol, asset_class=asset_class).symbol == expected


def test_legs_are_read_with_their_parent():
    legs = [
        EQUITY_ORDER | {"id": "tp", "side": "sell"},
        EQUITY_ORDER | {"id": "sl", "side": "sell", "status": "held"},
    ]
    seen = order(order_class="bracket", legs=legs)
    assert seen.order_class is OrderClass.BRACKET
    assert [(leg.order_id, leg.status) for leg in seen.legs] == [
        ("tp", OrderStatus.ACCEPTED),
        ("sl", OrderStatus.HELD),
    ]


def test_option_strategies_are_left_out_of_lists():
    strategy = EQUITY_ORDER | {"order_class": "mleg", "symbol": "", "side": ""}
    assert len(decode.decode_orders(json.dumps([strategy, EQUITY_ORDER]).encode(), SLASHES)) == 1
    assert decode.order_report_from({"event": "fill", "order": strategy}, SLASHES, 1) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"id": 5},
        {"client_order_id": None},
        {"symbol": ""},
        {"status": None},
        {"side": "short"},
        {"qty": "NaN"},
        {"qty": "1e400"},
        {"qty": True},
        {"qty": []},
        {"limit_price": "1" * 40},
        {"submitted_at": "yesterday"},
        {"legs": {}},
        {"legs": [None]},
    ],
)
def test_what_would_be_acted_on_is_read_or_refused(changes):
    with pytest.raises(DecodeError):
        order(**changes)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"<html>", b"\xff\xfe", b"[" * 10_000, b'{"qty":1e999999999}']
)
def test_a_body_that_is_no_order_raises_one_error_that_shows_it(data):
    with pytest.raises(DecodeError) as refusal:
        decode.decode_order(data, SLASHES)
    assert len(str(refusal.value)) < 1000


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(data):
    decode.decode_error(data)
    for read in (
        lambda: decode.decode_order(data, SLASHES),
        lambda: decode.decode_clock(data),
        lambda: decode.decode_asset(data),
        lambda: decode.decode_positions(data, SLASHES),
    ):
        with contextlib.suppress(DecodeError):
            read()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(EQUITY_ORDER)), _JSON)
def test_any_json_in_any_member_is_read_or_refused(name, value):
    with contextlib.suppress(DecodeError):
        order(**{name: value})


# --- trade updates -------------------------------------------------------------------------------------------


def test_a_fill_carries_its_own_quantity_and_price():
    message = {
        "event": "partial_fill",
        "execution_id": "e-1",
        "order": EQUITY_ORDER | {"status": "partially_filled", "filled_qty": "1"},
        "timestamp": "2023-12-12T22:31:25.000000001-05:00",
        "price": "149.99",
        "qty": "1",
        "position_qty": "-3",
    }
    report = decode.order_report_from(message, SLASHES, 77)
    assert report is not None
    assert (report.ts_ns, report.event, report.position_qty) == (77, "partial_fill", -3 * NANO)
    assert report.execution is not None
    assert report.execution.execution_id == "e-1"
    assert (report.execution.qty, report.execution.price) == (NANO, nano("149.99"))
    assert report.execution.at_ns == 1702438285000000001


def test_only_fills_have_an_execution():
    for event in ("new", "canceled", "pending_new", "restated"):
        message = {"event": event, "execution_id": "e-1", "order": EQUITY_ORDER, "timestamp": "x"}
        report = decode.order_report_from(message, SLASHES, 1)
        assert report is not None
        assert report.execution is None


def test_a_fill_without_an_id_gets_one_that_repeats_with_its_repeats():
    message = {
        "event": "fill",
        "order": EQUITY_ORDER,
        "timestamp": "2023-12-12T22:31:25Z",
        "price": "1",
        "qty": "2",
    }
    first, again = (decode.order_report_from(message, SLASHES, ts) for ts in (1, 2))
    assert first.execution == again.execution


@pytest.mark.parametrize("missing", ["order", "event", "price", "qty", "timestamp"])
def test_a_fill_that_cannot_be_booked_is_refused(missing):
    message = {
        "event": "fill",
        "order": EQUITY_ORDER,
        "timestamp": "2023-12-12T22:31:25Z",
        "price": "1",
        "qty": "2",
    }
    del message[missing]
    with pytest.raises(DecodeError):
        decode.order_report_from(message, SLASHES, 1)


# --- account, positions, assets, clock, quotes ---------------------------------------------------------------

ACCOUNT = {
    "account_number": "PA1",
    "status": "ACTIVE",
    "crypto_status": "ACTIVE",
    "cash": "1000.5",
    "equity": "2000",
    "buying_power": "4000",
    "non_marginable_buying_power": "900",
    "shorting_enabled": True,
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": True,
}


def test_an_account_needs_nothing_that_is_being_phased_out():
    account = decode.decode_account(json.dumps(ACCOUNT).encode(), asked_ns=5, ts_ns=6)
    assert (account.asked_ns, account.ts_ns, account.account_number) == (5, 6, "PA1")
    assert (account.cash, account.equity) == (nano("1000.5"), nano("2000"))
    assert account.suspended_by_user
    assert account.shorting_enabled
    assert account.last_equity is None


def test_an_account_says_what_it_was_worth_at_the_last_close():
    fields = ACCOUNT | {"last_equity": "1999.5"}
    account = decode.decode_account(json.dumps(fields).encode(), asked_ns=5, ts_ns=6)
    assert account.last_equity == nano("1999.5")


def test_an_absent_crypto_buying_power_is_taken_as_the_smaller_amount():
    fields = {k: v for k, v in ACCOUNT.items() if k != "non_marginable_buying_power"}
    account = decode.decode_account(json.dumps(fields).encode(), asked_ns=5, ts_ns=6)
    assert account.non_marginable_buying_power == nano("1000.5")


@pytest.mark.parametrize("missing", ["account_number", "status", "cash", "equity", "buying_power"])
def test_an_account_without_its_numbers_is_refused(missing):
    fields = {k: v for k, v in ACCOUNT.items() if k != missing}
    with pytest.raises(DecodeError):
        decode.decode_account(json.dumps(fields).encode(), asked_ns=5, ts_ns=6)


@pytest.mark.parametrize(("qty", "available"), [("-5", "-2"), ("5", "2")])
def test_a_short_position_is_negative_however_the_venue_signs_it(qty, available):
    row = {"symbol": "AAPL", "qty": qty, "qty_available": available, "side": "short", "avg_entry_price": "1"}
    (position,) = decode.decode_positions(json.dumps([row]).encode(), SLASHES)
    assert position == PositionSnapshot(symbol="AAPL", qty=-5 * NANO, qty_available=-2 * NANO, avg_price=NANO)


def test_a_crypto_position_gets_its_slash():
    row = {
        "symbol": "SOLUSD",
        "asset_class": "crypto",
        "qty": "1.5",
        "side": "long",
        "avg_entry_price": "100",
    }
    (position,) = decode.decode_positions(json.dumps([row]).encode(), SLASHES)
    assert (position.symbol, position.qty_available) == ("SOL/USD", nano("1.5"))


def test_assets_have_their_increments():
    row = {"class": "us_equity", "symbol": "AAPL", "status": "active", "tradable": True, "shortable": True}
    equity = decode.decode_asset(json.dumps(row).encode())
    assert (equity.asset_class, equity.lot, equity.min_order_qty, equity.price_increment) == (
        AssetClass.EQUITY,
        NANO,
        NANO,
        None,
    )
    row = {
        "class": "crypto",
        "symbol": "BTC/USD",
        "status": "active",
        "tradable": True,
        "min_order_size": "0.000015739",
        "min_trade_increment": "0.000000001",
        "price_increment": "0.01",
    }
    crypto = decode.decode_asset(json.dumps(row).encode())
    assert (crypto.lot, crypto.min_order_qty, crypto.price_increment) == (1, 15739, NANO // 100)
    with pytest.raises(DecodeError):
        decode.decode_asset(json.dumps(row | {"class": "us_option"}).encode())


def test_the_clock():
    data = (
        b'{"timestamp":"2026-11-20T10:00:00.123456789-05:00","is_open":true,'
        b'"next_open":"2026-11-23T09:30:00-05:00","next_close":"2026-11-20T16:00:00-05:00"}'
    )
    clock = decode.decode_clock(data)
    assert clock.is_open
    assert clock.timestamp_ns % NANO == 123456789
    assert clock.next_close_ns - clock.timestamp_ns == 6 * 3600 * NANO - 123456789
    with pytest.raises(DecodeError):
        decode.decode_clock(data.replace(b"true", b'"true"'))


def test_a_latest_quote_whose_time_no_row_can_hold_is_none():
    quote = {"bp": 0, "ap": 0, "bs": 0, "as": 0}
    never = {"symbol": "AAPL", "quote": {**quote, "t": "0001-01-01T00:00:00Z"}}
    assert decode.decode_latest_quote(json.dumps(never).encode(), "AAPL") is None
    late = {"symbol": "AAPL", "quote": {**quote, "t": "9999-12-31T00:00:00Z"}}
    with pytest.raises(decode.DecodeError, match="beyond all time"):
        decode.decode_latest_quote(json.dumps(late).encode(), "AAPL")


def test_latest_quotes_of_both_shapes():
    quote = {"bp": 150.0, "ap": 150.02, "bs": 5, "as": 7, "t": "1970-01-01T00:00:01Z"}
    expected = (150.0, 150.02, 5.0, 7.0, NANO)
    assert (
        decode.decode_latest_quote(json.dumps({"symbol": "AAPL", "quote": quote}).encode(), "AAPL")
        == expected
    )
    assert (
        decode.decode_latest_quote(json.dumps({"quotes": {"BTC/USD": quote}}).encode(), "BTC/USD") == expected
    )
    assert decode.decode_latest_quote(b'{"quotes":{}}', "BTC/USD") is None


# --- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "message", "extras"),
    [
        (b'{"message": "unauthorized."}', None, "unauthorized.", {}),
        (
            b'{"code":40010001,"message":"client_order_id must be unique"}',
            40010001,
            "client_order_id must be unique",
            {},
        ),
        (
            (
                b'{"available":"0","code":40310000,"existing_qty":"1","held_for_orders":"1","message":"insufficient qty",'
                b'"related_orders":["a","b"],"symbol":"AAPL"}'
            ),
            40310000,
            "insufficient qty",
            {
                "available": "0",
                "existing_qty": "1",
                "held_for_orders": "1",
                "related_orders": "a,b",
                "symbol": "AAPL",
            },
        ),
        (b"", None, "an empty body", {}),
        (b"<html><head><title>502 Bad Gateway</title></head></html>", None, "502 Bad Gateway", {}),
        (b'{"code":"40310000"}', None, "", {}),
        (b"[1]", None, "'[1]'", {}),
        (b"upstream connect\x00error", None, "'upstream connect error'", {}),
    ],
)
def test_error_bodies_of_every_kind(data, code, message, extras):
    assert decode.decode_error(data) == (code, message, extras)
