"""alpaca-py's TradingClient, unmodified, on the simulator: the account, its history, assets, clock and calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hands.sim.testing import Sim
from tests.conformance.conftest import START
from tests.conformance.sdk import (
    AccountStatus,
    APIError,
    AssetClass,
    AssetExchange,
    AssetStatus,
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    NonTradeActivity,
    OrderSide,
    OrderStatus,
    TimeInForce,
    TradeActivity,
    TradeConfirmationEmail,
    UpdateWatchlistRequest,
)

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
NEW_YORK = ZoneInfo("America/New_York")


def buy(trading: Any, symbol: str, qty: float) -> Any:
    tif = GTC if "/" in symbol else DAY
    return trading.submit_order(MarketOrderRequest(symbol=symbol, qty=qty, side=BUY, time_in_force=tif))


# -- the account ----------------------------------------------------------------------------------------------


def test_the_account_at_the_start(trading: Any) -> None:
    account = trading.get_account()
    assert (account.status, account.crypto_status) == (AccountStatus.ACTIVE, AccountStatus.ACTIVE)
    assert (account.currency, account.multiplier, account.created_at) == ("USD", "2", START)
    for name in ("cash", "equity", "last_equity", "portfolio_value", "non_marginable_buying_power"):
        assert (name, getattr(account, name)) == (name, "100000")
    assert (account.buying_power, account.regt_buying_power) == ("200000", "200000")
    assert (account.long_market_value, account.short_market_value, account.initial_margin) == ("0", "0", "0")
    flags = ("trading_blocked", "transfers_blocked", "account_blocked", "trade_suspended_by_user")
    assert [getattr(account, flag) for flag in flags] == [False] * 4
    assert account.shorting_enabled is True


def test_the_account_after_a_purchase_and_a_move(trading: Any, sim: Sim) -> None:
    buy(trading, "AAPL", 100)
    trading.submit_order(
        LimitOrderRequest(symbol="SPY", qty=10, side=BUY, time_in_force=GTC, limit_price=500)
    )
    sim.quote("AAPL", 151.98, 152.02)
    sim.trade("AAPL", 152)
    account = trading.get_account()
    assert (account.cash, account.equity, account.long_market_value) == ("85000", "100200", "15200")
    # Two times what is not tied up as margin, less what the open order may cost.
    assert float(account.buying_power) == pytest.approx(2 * (100200 - 15200 / 2) - 5000)


def test_configurations_are_read_changed_and_obeyed(trading: Any) -> None:
    before = trading.get_account_configurations()
    assert (before.max_margin_multiplier, before.no_shorting, before.suspend_trade) == ("4", False, False)
    assert (before.fractional_trading, before.ptp_no_exception_entry) == (True, False)
    wanted = before.model_copy(
        update={
            "suspend_trade": True,
            "no_shorting": True,
            "trade_confirm_email": TradeConfirmationEmail.NONE,
        }
    )
    assert trading.set_account_configurations(wanted) == wanted
    assert trading.get_account_configurations() == wanted
    assert trading.get_account().trade_suspended_by_user is True
    with pytest.raises(APIError) as refused:
        buy(trading, "AAPL", 1)
    assert (refused.value.status_code, refused.value.code) == (403, 40310000)
    assert refused.value.message == "new orders are rejected by user request"
    trading.set_account_configurations(before)
    assert buy(trading, "AAPL", 1).qty == "1"


# -- what happened to it --------------------------------------------------------------------------------------


def activities(trading: Any, path: str, **query: Any) -> list[dict[str, Any]]:
    """The SDK has no method for them; its `get` is the documented way."""
    rows = trading.get(f"/account/activities{path}", query)
    assert isinstance(rows, list)
    return rows


def as_fill(trading: Any, row: dict[str, Any]) -> Any:
    # The model is the broker API's, which alone says whose account it is.
    return TradeActivity(account_id=trading.get_account().id, **row)


def test_fills_are_activities(trading: Any, sim: Sim) -> None:
    order = buy(trading, "AAPL", 600)  # more than is displayed: filled in two
    sim.advance(1_000)
    sim.quote("AAPL", 149.99, 150.01)
    second, first = (as_fill(trading, row) for row in activities(trading, "/FILL"))
    assert (first.type.value, first.price, first.qty, first.cum_qty, first.leaves_qty) == (
        "partial_fill", 150.0, 500.0, 500.0, 100.0,
    )  # fmt: skip
    assert (second.type.value, second.price, second.qty, second.cum_qty, second.leaves_qty) == (
        "fill", 150.01, 100.0, 600.0, 0.0,
    )  # fmt: skip
    assert (first.order_status, second.order_status) == (OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED)
    assert (first.order_id, first.symbol, first.side) == (order.id, "AAPL", BUY)
    assert (first.transaction_time, second.transaction_time) == (START, START + timedelta(seconds=1))
    assert first.id.startswith("20260310103000000::")


def test_activities_are_filtered_and_paged(trading: Any, sim: Sim) -> None:
    for qty in (1, 2, 3):
        buy(trading, "AAPL", qty)
        sim.advance(60_000)

    def quantities(path: str = "", **query: Any) -> list[str]:
        return [row["qty"] for row in activities(trading, path, **query)]

    assert quantities() == quantities("/FILL") == quantities(activity_types="FILL,CFEE") == ["3", "2", "1"]
    assert quantities("/FILL", direction="asc") == ["1", "2", "3"]
    assert quantities("/FILL", after=START.isoformat()) == ["3", "2"]
    assert quantities("/FILL", date="2026-03-10", page_size=2) == ["3", "2"]
    assert quantities("/FILL", date="2026-03-09") == []
    token = activities(trading, "/FILL", page_size=2)[-1]["id"]
    assert quantities("/FILL", page_size=2, page_token=token) == ["1"]


def test_a_coins_fee_is_an_activity_once_the_day_is_over(trading: Any, sim: Sim) -> None:
    buy(trading, "BTC/USD", 0.1)
    assert activities(trading, "/CFEE") == []
    sim.advance_to("2026-03-11T14:30:00Z")
    (row,) = activities(trading, "/CFEE")
    fee = NonTradeActivity(account_id=trading.get_account().id, **row)
    assert (fee.activity_type.value, fee.date) == ("CFEE", date(2026, 3, 10))
    assert (abs(fee.qty), fee.price) == (0.00025, 100010.0)


def test_the_portfolios_history_ends_with_the_equity_of_now(trading: Any, sim: Sim) -> None:
    sim.advance(600_000)  # a new account's profit is reckoned from what it was worth at first
    buy(trading, "AAPL", 100)
    sim.advance(600_000)
    sim.quote("AAPL", 151.98, 152.02)
    sim.trade("AAPL", 152)
    sim.advance(600_000)
    history = trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min"))
    assert (history.timeframe, history.base_value) == ("5Min", 100000.0)
    series = zip(history.timestamp, history.equity, history.profit_loss, history.profit_loss_pct, strict=True)
    (first, equity, profit, share), *_, last = series
    assert (first, equity, profit, share) == (START.timestamp(), 100000.0, 0.0, 0.0)
    assert last == (START.timestamp() + 1500, 100200.0, 200.0, 0.002)
    steps = {later - earlier for earlier, later in pairwise(history.timestamp)}
    assert steps == {300}


# -- what can be traded, and when -----------------------------------------------------------------------------


def test_assets_are_listed_by_class_and_status(trading: Any) -> None:
    equities = {asset.symbol: asset for asset in trading.get_all_assets()}
    assert {"AAPL", "SPY", "MSFT"} <= equities.keys()
    assert {asset.asset_class for asset in equities.values()} == {AssetClass.US_EQUITY}
    coins = trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO, status=AssetStatus.ACTIVE))
    assert {"BTC/USD", "SOL/USD"} <= {asset.symbol for asset in coins}
    assert {(asset.asset_class, asset.exchange) for asset in coins} == {
        (AssetClass.CRYPTO, AssetExchange.CRYPTO)
    }
    on_arca = trading.get_all_assets(GetAssetsRequest(exchange=AssetExchange.ARCA))
    assert "SPY" in {asset.symbol for asset in on_arca}
    assert {asset.exchange for asset in on_arca} == {AssetExchange.ARCA}


def test_one_asset_by_symbol_and_by_id(trading: Any) -> None:
    aapl = trading.get_asset("AAPL")
    assert (aapl.symbol, aapl.exchange, aapl.asset_class) == (
        "AAPL",
        AssetExchange.NASDAQ,
        AssetClass.US_EQUITY,
    )
    assert (aapl.name, aapl.status, aapl.tradable) == ("Apple Inc. Common Stock", AssetStatus.ACTIVE, True)
    assert (aapl.marginable, aapl.shortable, aapl.easy_to_borrow, aapl.fractionable) == (
        True,
        True,
        True,
        True,
    )
    assert (aapl.min_order_size, aapl.price_increment) == (None, None)
    assert trading.get_asset(aapl.id) == aapl

    coin = trading.get_asset("BTC/USD")
    assert (coin.symbol, coin.shortable, coin.marginable, coin.fractionable) == (
        "BTC/USD",
        False,
        False,
        True,
    )
    assert (coin.min_order_size, coin.min_trade_increment, coin.price_increment) == (0.000015739, 1e-9, 0.01)
    assert trading.get_asset("BTCUSD") == coin


def test_a_watchlist_from_its_creation_to_its_end(trading: Any) -> None:
    made = trading.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["AAPL", "SPY"]))
    assert (made.name, made.account_id, made.created_at) == ("mine", trading.get_account().id, START)
    assert [asset.symbol for asset in made.assets] == ["AAPL", "SPY"]
    grown = trading.add_asset_to_watchlist_by_id(made.id, "MSFT")
    assert [asset.symbol for asset in grown.assets] == ["AAPL", "SPY", "MSFT"]
    shrunk = trading.remove_asset_from_watchlist_by_id(made.id, "SPY")
    assert [asset.symbol for asset in shrunk.assets] == ["AAPL", "MSFT"]
    trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="ours", symbols=["SPY"]))
    kept = trading.get_watchlist_by_id(made.id)
    assert (kept.name, [asset.symbol for asset in kept.assets]) == ("ours", ["SPY"])
    assert [(found.id, found.name) for found in trading.get_watchlists()] == [(made.id, "ours")]
    trading.delete_watchlist_by_id(made.id)
    assert trading.get_watchlists() == []


def test_the_clock_is_new_yorks(trading: Any, sim: Sim) -> None:
    clock = trading.get_clock()
    assert (clock.timestamp, clock.is_open) == (START, True)
    assert clock.timestamp.utcoffset() == timedelta(hours=-4)
    assert clock.next_close == datetime(2026, 3, 10, 16, tzinfo=NEW_YORK)
    assert clock.next_open == datetime(2026, 3, 11, 9, 30, tzinfo=NEW_YORK)
    sim.advance_to("2026-03-10T21:00:00Z")
    clock = trading.get_clock()
    assert (clock.timestamp, clock.is_open) == (datetime(2026, 3, 10, 21, tzinfo=UTC), False)
    assert clock.next_close == datetime(2026, 3, 11, 16, tzinfo=NEW_YORK)


def test_the_calendar_knows_weekends_holidays_and_early_closes(trading: Any) -> None:
    days = trading.get_calendar(GetCalendarRequest(start=date(2026, 11, 23), end=date(2026, 11, 30)))
    assert [(day.date, day.open.strftime("%H:%M"), day.close.strftime("%H:%M")) for day in days] == [
        (date(2026, 11, 23), "09:30", "16:00"),
        (date(2026, 11, 24), "09:30", "16:00"),
        (date(2026, 11, 25), "09:30", "16:00"),
        (date(2026, 11, 27), "09:30", "13:00"),
        (date(2026, 11, 30), "09:30", "16:00"),
    ]
    assert days[0].open.date() == days[0].date
