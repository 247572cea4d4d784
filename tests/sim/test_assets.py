"""What is listed, under which names, and what a test may change about it."""

from __future__ import annotations

import pytest

from hands.core.vocab import AssetClass
from hands.sim.venue.assets import ATTRIBUTES, AssetError, AssetTable
from hands.sim.venue.errors import VenueError


def test_asset_is_found_by_symbol_joined_symbol_and_id():
    table = AssetTable(["DOGE/USD"])
    coin = table.get("DOGE/USD")
    assert table.get("DOGEUSD") is table.get(coin.asset_id) is coin
    assert coin.asset_class is AssetClass.CRYPTO
    with pytest.raises(VenueError, match='asset "NONE" not found'):
        table.get("NONE")


def test_ids_are_the_same_in_every_run_and_differ():
    first, second = AssetTable(), AssetTable(["XYZ"])
    assert {a.symbol: a.asset_id for a in first}.items() <= {a.symbol: a.asset_id for a in second}.items()
    assert len({a.asset_id for a in second}) == len(list(second))


def test_listed_assets_have_every_habit():
    table = AssetTable()
    shares = [a for a in table if not a.is_crypto]
    assert [a.symbol for a in shares if a.is_hard_to_borrow] == ["GME"]
    assert [a.symbol for a in shares if not a.shortable] == ["MULN"]
    assert [a.symbol for a in shares if not a.fractionable] == ["BRK.A"]
    assert [a.symbol for a in table if not a.is_active] == ["MKR/USD"]
    assert {word for a in table for word in a.attributes} <= set(ATTRIBUTES)


def test_change_holds_under_every_name_and_for_nothing_taken_before(desk):
    table = desk.exchange.assets
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    changed = table.change("AAPL", status="inactive", tradable=False, attributes=["ipo"])
    assert table.get("AAPL") is table.get(changed.asset_id) is changed
    assert (changed.is_active, changed.tradable, changed.attributes) == (False, False, ("ipo",))
    assert order.asset.is_active
    assert table.change("BTCUSD", price_increment="0.5").price_increment == 500_000_000
    assert [a.symbol for a in table].count("AAPL") == 1


@pytest.mark.parametrize(
    ("symbol", "changes", "message"),
    [
        ("NONE", {"tradable": False}, "no asset 'NONE'"),
        ("AAPL", {"symbol": "AAP"}, "an asset has no 'symbol' to change"),
        ("AAPL", {"tradable": "no"}, "tradable cannot be 'no'"),
        ("AAPL", {"status": ["active"]}, "status cannot be"),
        ("AAPL", {"attributes": [{}]}, "attributes cannot be"),
        ("AAPL", {"name": ""}, "name cannot be ''"),
        ("BTC/USD", {"price_increment": "0"}, "price_increment cannot be '0'"),
        ("BTC/USD", {"min_order_size": "tiny"}, "min_order_size: 'tiny' is not a decimal number"),
        ("BTC/USD", {"min_order_size": 1}, "min_order_size cannot be 1"),
    ],
)
def test_change_is_refused_whole(symbol, changes, message):
    table = AssetTable()
    before = list(table)
    with pytest.raises(AssetError, match=message):
        table.change(symbol, shortable=False, **changes)
    assert list(table) == before
