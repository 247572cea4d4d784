"""Splits and changes of symbol, on demand: orders go, the holding stays what it is worth."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, decimal_text
from hands.core.vocab import OrderStatus
from hands.sim.venue.corporate import CorporateActionError
from hands.sim.venue.errors import VenueError


def holding(desk, side="buy", qty="10"):
    desk.send("AAPL", side, qty)
    desk.events()
    return desk.exchange.account.positions["AAPL"]


@pytest.mark.parametrize(
    ("qty", "new", "old", "after", "cash"),
    [
        ("10", 4, 1, "40", "0"),
        ("10", 1, 10, "1", "0"),
        (
            "10",
            1,
            4,
            "2",
            "299.98",
        ),  # half a new share, two old ones, at the 149.99 in the middle of the quote
        ("10", 3, 2, "15", "0"),
        ("2.5", 3, 1, "7.5", "0"),
        ("1", 1, 3, "0", "149.99"),
    ],
)
def test_a_split_keeps_the_value(desk, qty, new, old, after, cash):
    position = holding(desk, qty=qty)
    before = desk.exchange.funds()
    cost = position.cost
    desk.exchange.split("AAPL", new, old)
    assert desk.position("AAPL") == after
    done = desk.exchange.corporate_actions[-1]
    assert (decimal_text(done.qty_after), decimal_text(done.cash)) == (after, cash)
    now = desk.exchange.funds()
    assert now.cash - before.cash == done.cash
    assert abs(now.equity - before.equity) <= abs(position.qty) // NANO * NANO // 100  # prices come in cents
    if not done.cash:
        assert position.cost == cost


def test_a_short_buys_its_fraction_back(desk):
    holding(desk, "sell", "5")
    cash = desk.exchange.account.cash
    desk.exchange.split("AAPL", 1, 2)
    assert desk.position("AAPL") == "-2"
    assert decimal_text(desk.exchange.account.cash - cash) == "-149.99"


def test_the_book_is_split_with_the_shares(desk):
    desk.exchange.split("AAPL", 2, 1)
    book = desk.exchange.book("AAPL")
    assert [decimal_text(price) for price in (book.bid, book.ask)] == ["74.99", "75"]
    assert decimal_text(desk.send("AAPL", "buy", "1").filled_avg_price) == "75"


def test_a_split_cancels_every_order_of_the_symbol_and_leaves_it_naked(desk):
    entry = desk.bracket()
    desk.quote("SPY", "449", "450")
    other = desk.send("SPY", "buy", "1", "limit", "gtc", limit_price="400")
    desk.events()
    desk.exchange.split("AAPL", 2, 1)
    assert {leg.status for leg in desk.legs(entry)} == {OrderStatus.CANCELED}
    assert other.status is OrderStatus.NEW
    assert sorted(desk.events()) == [("canceled", "sl"), ("canceled", "tp")]
    assert desk.naked("AAPL")["naked_since_ns"] == desk.t_ns


def test_a_rename_moves_the_holding_and_retires_the_old_name(desk):
    position = holding(desk)
    resting = desk.send("AAPL", "sell", "10", "limit", "gtc", limit_price="160")
    desk.exchange.rename("AAPL", "PEAR")
    assert resting.status is OrderStatus.CANCELED
    assert (desk.position("AAPL"), desk.position("PEAR")) == ("0", "10")
    assert (position.asset.symbol, position.cost) == ("PEAR", 1500 * NANO)
    assert decimal_text(desk.exchange.mark("PEAR")) == "149.99"
    with pytest.raises(VenueError, match="is not active"):
        desk.send("AAPL", "buy", "1")
    assert decimal_text(desk.send("PEAR", "sell", "10").filled_avg_price) == "149.98"
    assert (desk.naked("AAPL")["naked_since_ns"], desk.naked("PEAR")["naked_since_ns"]) == (None, None)


@pytest.mark.parametrize(
    "action",
    [
        ("split", "BTC/USD", 2, 1),
        ("split", "AAPL", 0, 1),
        ("split", "NOSUCH", 2, 1),
        ("rename", "AAPL", "AAPL"),
        ("rename", "AAPL", "PEAR/USD"),
        ("rename", "SPY", "AAPL"),
        ("rename", "NOSUCH", "PEAR"),
    ],
)
def test_what_makes_no_sense_changes_nothing(desk, action):
    holding(desk)
    resting = desk.send("AAPL", "sell", "10", "limit", "gtc", limit_price="160")
    name, *arguments = action
    with pytest.raises(CorporateActionError):
        getattr(desk.exchange, name)(*arguments)
    assert (resting.status, desk.position("AAPL")) == (OrderStatus.NEW, "10")
    assert not desk.exchange.corporate_actions


def test_a_renamed_asset_is_what_it_was_under_another_name(desk):
    desk.exchange.rename("MULN", "MULX")
    renamed = desk.exchange.assets.get("MULX")
    was = desk.exchange.assets.get("MULN")
    assert (renamed.shortable, renamed.marginable, renamed.is_active, renamed.tradable) == (
        False,
        False,
        True,
        True,
    )
    assert (was.is_active, was.tradable, was.asset_id == renamed.asset_id) == (False, False, False)


def test_todays_profit_survives_a_split(desk):
    position = holding(desk)
    desk.exchange.split("AAPL", 1, 4)
    assert position.day_cost == position.cost == 1200 * NANO  # eight of the ten are still held, as two
    assert decimal_text(desk.exchange.book("AAPL").reference) == "599.96"
