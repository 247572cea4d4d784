"""Orders and positions over REST: documents, lists, cancelling and closing many, and the habits of each."""

from __future__ import annotations

import pytest

from hands.sim.venue.quirks import Latency, Quirks

BRACKET = {
    "type": "limit",
    "limit_price": "140",
    "time_in_force": "gtc",
    "order_class": "bracket",
    "take_profit": {"limit_price": "155"},
    "stop_loss": {"stop_price": "130"},
}


async def held(client, qty: str = "10") -> None:
    """Hold `qty` AAPL."""
    status, _ = await client.buy(qty=qty)
    assert status == 200


def test_a_notional_order_has_no_qty(on_simulator) -> None:
    async def scenario(client) -> None:
        body = {"symbol": "AAPL", "side": "buy", "notional": "500", "type": "market", "time_in_force": "day"}
        status, order = await client.call("POST", "/v2/orders", body)
        assert (status, order["notional"], order["qty"]) == (200, "500", None)

    on_simulator(scenario)


def test_a_trailing_stop_tells_its_trail_and_high_water_mark(on_simulator) -> None:
    async def scenario(client) -> None:
        await held(client)
        trailing = {"side": "sell", "type": "trailing_stop", "time_in_force": "gtc"}
        _, by_price = await client.buy(**trailing, qty="2", trail_price="1.5")
        assert (by_price["trail_price"], by_price["trail_percent"]) == ("1.5", None)
        _, by_share = await client.buy(**trailing, qty="2", trail_percent="2")
        assert (by_share["trail_price"], by_share["trail_percent"]) == (None, "2")
        _, found = await client.call("GET", f"/v2/orders/{by_share['id']}")
        assert float(found["hwm"]) > 0
        assert float(found["stop_price"]) < float(found["hwm"])

    on_simulator(scenario)


def test_legs_are_shown_in_the_answer_to_the_order_and_when_nested_only(on_simulator) -> None:
    async def scenario(client) -> None:
        _, order = await client.buy(**BRACKET, client_order_id="mine")
        assert [leg["order_class"] for leg in order["legs"]] == ["bracket"] * 2
        for path in (f"/v2/orders/{order['id']}?", "/v2/orders:by_client_order_id?client_order_id=mine&"):
            assert (await client.call("GET", path))[1]["legs"] is None
            assert len((await client.call("GET", f"{path}nested=true"))[1]["legs"]) == 2

    on_simulator(scenario)


@pytest.mark.parametrize(("word", "count"), [("yes", 3), ("no", 1)])
def test_open_orders_may_leave_out_held_legs(on_simulator, word, count) -> None:
    async def scenario(client) -> None:
        await client.buy(**BRACKET)
        assert len((await client.call("GET", "/v2/orders"))[1]) == count
        assert len((await client.call("GET", "/v2/orders?status=all"))[1]) == 3
        (parent,) = (await client.call("GET", "/v2/orders?nested=true"))[1]
        assert len(parent["legs"]) == 2

    on_simulator(scenario, quirks=Quirks(open_lists_held=word))


def test_documents_vary_with_the_quirks(on_simulator) -> None:
    async def scenario(client) -> None:
        _, order = await client.buy()
        assert (order["order_class"], "position_intent" in order) == expected[:2]
        await client.buy(side="sell", qty="1")
        await client.buy(side="sell", qty="3")
        (position,) = (await client.call("GET", "/v2/positions"))[1]
        assert (position["side"], position["qty"], position["qty_available"]) == ("short", *expected[2])
        _, account = await client.call("GET", "/v2/account")
        assert {"pattern_day_trader", "daytrade_count", "daytrading_buying_power"} & set(account) == expected[
            3
        ]
        (truth,) = (await client.truth())["positions"]
        assert truth["qty"] == "-3"  # whatever the documents say

    expected = ("", True, ("-3", "-3"), set())
    on_simulator(scenario)
    expected = (
        "simple",
        False,
        ("3", "3"),
        {"pattern_day_trader", "daytrade_count", "daytrading_buying_power"},
    )
    on_simulator(
        scenario,
        quirks=Quirks(
            order_class_text="simple",
            position_intent_field="absent",
            pdt_fields="present",
            short_qty="positive",
        ),
    )


def test_list_filters_by_side_class_and_symbol(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.quote("BTC/USD", 60000, 60010)
        await held(client)
        coin = {"symbol": "BTC/USD", "qty": "0.01", "type": "limit", "limit_price": "50000"}
        await client.buy(**coin, time_in_force="gtc")
        await client.buy(side="sell", type="limit", limit_price="200")

        async def symbols(query: str) -> list[str]:
            status, orders = await client.call("GET", f"/v2/orders?status=all&direction=asc&{query}")
            assert status == 200
            return [order["symbol"] for order in orders]

        assert await symbols("") == ["AAPL", "BTC/USD", "AAPL"]
        assert await symbols("side=sell") == ["AAPL"]
        assert await symbols("asset_class=crypto") == ["BTC/USD"]
        assert await symbols("asset_class=us_equity,crypto") == await symbols("asset_class=all")
        assert await symbols("symbols=BTCUSD") == await symbols("symbols=BTC/USD") == ["BTC/USD"]
        for wrong in ("side=both", "direction=up", "limit=0", "limit=x", "after=soon"):
            assert (await client.call("GET", f"/v2/orders?{wrong}"))[0] == 422

    on_simulator(scenario)


def test_cancelling_all_tells_of_each(on_simulator) -> None:
    async def scenario(client) -> None:
        _, bracket = await client.buy(**BRACKET)
        _, resting = await client.buy(type="limit", limit_price="100")
        status, results = await client.call("DELETE", "/v2/orders")
        ids = [bracket["id"], *(leg["id"] for leg in bracket["legs"]), resting["id"]]
        assert (status, results) == (207, [{"id": order_id, "status": 200} for order_id in ids])
        assert (await client.call("DELETE", "/v2/orders")) == (207, [])
        assert {o["status"] for o in (await client.call("GET", "/v2/orders?status=all"))[1]} == {"canceled"}

    on_simulator(scenario)


def test_an_order_that_cannot_be_canceled_is_told_with_its_refusal(on_simulator) -> None:
    async def scenario(client) -> None:
        _, free = await client.buy(type="limit", limit_price="100")
        _, replaced = await client.buy(type="limit", limit_price="101")
        await client.call("PATCH", f"/v2/orders/{replaced['id']}", {"limit_price": "102"})
        status, results = await client.call("DELETE", "/v2/orders")
        by_id = {result["id"]: result for result in results}
        assert (status, by_id[free["id"]]) == (207, {"id": free["id"], "status": 200})
        refused = by_id[replaced["id"]]
        assert (refused["status"], refused["body"]["code"]) == (500, 42210000)

    on_simulator(scenario, latency=Latency.of_ms(replace=60_000))


def test_closing_by_percentage_and_quantity(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.quote("BTC/USD", 60000, 60010)
        await held(client, "10")
        await client.buy(symbol="BTC/USD", qty="0.01", time_in_force="gtc")

        async def closed(path: str) -> str:
            status, order = await client.call("DELETE", f"/v2/positions/{path}")
            assert (status, order["side"], order["type"]) == (200, "sell", "market")
            return order["qty"]

        assert await closed("AAPL?percentage=25") == "2"  # of whole shares, whole shares
        assert await closed("AAPL?qty=3") == "3"
        assert await closed("BTC%2FUSD?percentage=50") == "0.0049875"
        assert await closed("BTCUSD") == "0.0049875"
        assert await closed("AAPL") == "5"
        assert await client.call("DELETE", "/v2/positions/AAPL") == (
            404,
            {"code": 40410000, "message": "position does not exist"},
        )

    on_simulator(scenario)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("qty=1&percentage=10", "only one of qty or percentage is accepted"),
        ("percentage=101", "percentage must be between 0 and 100"),
        ("percentage=0", "percentage must be between 0 and 100"),
        ("percentage=1", "qty must be > 0"),
        ("qty=0", "qty must be > 0"),
        ("qty=x", "qty is invalid"),
    ],
)
def test_closing_refusals(on_simulator, query, message) -> None:
    async def scenario(client) -> None:
        await held(client)
        answer = await client.call("DELETE", f"/v2/positions/AAPL?{query}")
        assert answer == (422, {"code": 40010001, "message": message})

    on_simulator(scenario)


def test_shares_held_by_an_order_are_not_closed_and_the_holder_is_not_named(on_simulator) -> None:
    async def scenario(client) -> None:
        await held(client)
        await client.buy(side="sell", qty="8", type="limit", limit_price="200")
        refusal = {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 10, available: 2)",
            "available": "2",
            "existing_qty": "10",
            "held_for_orders": "8",
            "symbol": "AAPL",
        }
        assert await client.call("DELETE", "/v2/positions/AAPL") == (403, refusal)
        status, results = await client.call("DELETE", "/v2/positions")
        assert (status, results) == (207, [{"symbol": "AAPL", "status": 403, "body": refusal}])
        ordered = await client.buy(side="sell", qty="10")
        assert "related_orders" in ordered[1]

    on_simulator(scenario)


def test_closing_all_can_cancel_first(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.quote("BTC/USD", 60000, 60010)
        await held(client)
        await client.buy(symbol="BTC/USD", qty="0.01", time_in_force="gtc")
        await client.buy(side="sell", qty="8", type="limit", limit_price="200")
        status, results = await client.call("DELETE", "/v2/positions?cancel_orders=true")
        assert status == 207
        assert [(r["symbol"], r["status"], r["body"]["side"]) for r in results] == [
            ("AAPL", 200, "sell"),
            ("BTCUSD", 200, "sell"),
        ]
        assert await client.call("GET", "/v2/positions") == (200, [])
        assert await client.call("DELETE", "/v2/positions") == (207, [])

    on_simulator(scenario)
