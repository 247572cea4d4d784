"""The controls: every row of the market, the account, the assets, corporate actions, and that a 400 changed nothing."""

from __future__ import annotations

import json

import orjson
import pytest

from hands.sim.venue.quirks import Latency, Quirks

BUY_SPY = {"symbol": "SPY", "bid": 599.98, "ask": 600.02}


async def ok(client, method, path, body=None):
    status, answer = await client.call(method, f"/sim/v1/{path}", body)
    assert status == 200, answer
    return answer


async def refused(client, path, body, says):
    status, answer = await client.call("POST", f"/sim/v1/{path}", body)
    assert status == 400
    assert says in answer["message"]


async def market_data(client, **channels):
    """A connection to the stock feed that has subscribed to everything of AAPL, prints included."""
    ws = await client.session.ws_connect("/v2/iex")
    await ws.receive_json(timeout=10)
    await ws.receive_json(timeout=10)  # the keys are in the headers
    await ws.send_json(
        {"action": "subscribe", "trades": ["AAPL"], "statuses": ["AAPL"], "lulds": ["AAPL"]} | channels
    )
    await ws.receive_json(timeout=10)
    return ws


# --- the market ------------------------------------------------------------------------------------------------


def test_prints_are_told_their_numbers_and_quotes_have_none(on_simulator):
    async def scenario(client):
        rows = [BUY_SPY, {"symbol": "AAPL", "price": 150}, {"symbol": "AAPL", "price": "150.01", "size": 7}]
        assert await ok(client, "POST", "market", rows) == {"published": 3, "trade_ids": [1, 2]}
        assert await ok(client, "POST", "market", BUY_SPY) == {"published": 1}

    on_simulator(scenario)


def test_notices_reach_the_stream_in_order_and_the_truth(on_simulator):
    async def scenario(client):
        ws = await market_data(client)
        await ok(
            client,
            "POST",
            "market",
            [
                {"symbol": "AAPL", "price": 150, "size": 100},
                {"symbol": "AAPL", "correct": 1, "price": 149.5},
                {"symbol": "AAPL", "cancel": 2, "action": "E"},
                {"symbol": "AAPL", "limit_up": 157.5, "limit_down": 142.5},
                {"symbol": "AAPL", "status": "H", "reason": "T12", "reason_message": "News"},
                {"symbol": "AAPL", "status": "T"},
            ],
        )
        sent = [message for frame in [await ws.receive_json(timeout=10)] for message in frame]
        assert [m["T"] for m in sent] == ["t", "c", "x", "l", "s", "s"]
        assert (sent[1]["oi"], sent[1]["op"], sent[1]["ci"], sent[1]["cp"]) == (1, 150, 2, 149.5)
        assert (sent[2]["i"], sent[2]["a"]) == (2, "E")
        assert (sent[4]["sc"], sent[4]["sm"], sent[4]["rc"]) == ("H", "Trading Halt", "T12")
        notices = (await client.truth())["notices"]
        assert [{k: v for k, v in n.items() if k not in {"t_ns", "symbol"}} for n in notices] == [
            {"correct": 1, "price": "149.5", "size": "100", "trade_id": 2},
            {"cancel": 2, "action": "E"},
            {"limit_up": "157.5", "limit_down": "142.5", "indicator": "B"},
            {"status": "H", "status_message": "Trading Halt", "reason": "T12", "reason_message": "News"},
            {"status": "T", "status_message": "Trading Resumption", "reason": "", "reason_message": ""},
        ]

    on_simulator(scenario)


def test_a_halt_holds_orders_until_trading_resumes(on_simulator):
    async def scenario(client):
        await client.buy(type="limit", limit_price="149", client_order_id="resting")
        await ok(client, "POST", "market", {"symbol": "AAPL", "status": "H"})
        await client.quote("AAPL", 148.0, 148.5)
        (order,) = (await client.truth())["orders"]
        assert order["status"] == "new"
        await ok(client, "POST", "market", {"symbol": "AAPL", "status": "T"})
        await client.quote("AAPL", 148.0, 148.5)
        (order,) = (await client.truth())["orders"]
        assert order["status"] == "filled"

    on_simulator(scenario)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"bid": 1, "ask": 2}, "symbol"),
        ({"symbol": "AAPL"}, "a trade (price), a quote (bid, ask) or a notice"),
        ({"symbol": "AAPL", "bid": 1, "ask": "x"}, "ask"),
        ({"symbol": "AAPL", "bid": -1, "ask": 2}, "below zero"),
        ({"symbol": "AAPL", "price": 1, "volume": 2}, "unknown key 'volume'"),
        ({"symbol": "AAPL", "price": 1, "conditions": "@"}, "conditions"),
        ({"symbol": "AAPL", "status": "Z"}, "needs a status_message"),
        ({"symbol": "AAPL", "status": "H", "price": 1}, "unknown key 'price'"),
        ({"symbol": "AAPL", "correct": 1, "price": 1, "volume": 2}, "unknown key 'volume'"),
        ({"symbol": "AAPL", "correct": 99, "price": 1}, "no print 99 of AAPL"),
        ({"symbol": "SPY", "correct": 1, "price": 1}, "no print 1 of SPY"),
        ({"symbol": "AAPL", "correct": 1}, "already is so"),
        ({"symbol": "AAPL", "cancel": "1"}, "no print '1' of AAPL"),
        ({"symbol": "AAPL", "cancel": 1, "action": "X"}, "'C' (canceled) or 'E' (error)"),
        ({"symbol": "AAPL", "limit_up": 1, "limit_down": 2}, "limit_down < limit_up"),
        ({"symbol": "AAPL", "limit_down": 2}, "0 < limit_down < limit_up"),
        ("AAPL", "array of objects"),
    ],
)
def test_one_wrong_row_leaves_the_market_as_it_was(on_simulator, row, says):
    async def scenario(client):
        await ok(client, "POST", "market", {"symbol": "AAPL", "price": 150})
        await refused(client, "market", [{"symbol": "AAPL", "bid": 1, "ask": 2}, row], says)
        _, quotes = await client.call("GET", "/v2/stocks/AAPL/quotes/latest")
        assert quotes["quote"]["bp"] == 149.98
        assert (await ok(client, "POST", "market", {"symbol": "AAPL", "price": 150}))["trade_ids"] == [2]

    on_simulator(scenario)


# --- faults ------------------------------------------------------------------------------------------------------


def test_faults_are_listed_used_up_written_down_and_cleared(on_simulator):
    async def scenario(client):
        row = {"on": "GET /v2/account", "do": "status", "status": 503, "times": 2}
        await client.fault(row, {"on": "market_data", "do": "mute", "times": 1})
        assert (await client.call("GET", "/v2/account"))[0] == 503
        assert await ok(client, "GET", "faults") == [
            row | {"times": 1},
            {"on": "market_data", "do": "mute", "times": 1},
        ]
        assert await ok(client, "DELETE", "faults") == {"cleared": 2}
        assert (await client.call("GET", "/v2/account"))[0] == 200
        (used,) = (await client.truth())["faults"]
        assert (used["on"], used["do"], used["what"]) == ("GET /v2/account", "status", "GET /v2/account")

    on_simulator(scenario)


def test_a_wrong_fault_installs_none(on_simulator):
    async def scenario(client):
        await refused(
            client, "faults", [{"on": "trade_updates", "do": "mute"}, {"on": "x", "do": "y"}], "neither"
        )
        assert await ok(client, "GET", "faults") == []

    on_simulator(scenario)


# --- the account and the assets ----------------------------------------------------------------------------------


def test_the_venue_may_block_the_account(on_simulator):
    async def scenario(client):
        await ok(client, "POST", "account", {"trading_blocked": True, "status": "ACTION_REQUIRED"})
        _, account = await client.call("GET", "/v2/account")
        assert (account["trading_blocked"], account["status"]) == (True, "ACTION_REQUIRED")
        assert (await client.buy())[0] == 403
        assert (await client.truth())["flags"]["trading_blocked"] is True
        await refused(
            client, "account", {"trading_blocked": False, "shorting_enabled": 1}, "shorting_enabled is 1"
        )
        await refused(client, "account", {"mood": "bad"}, "no flag 'mood'")
        assert (await client.call("GET", "/v2/account"))[1]["trading_blocked"] is True

    on_simulator(scenario)


def test_an_asset_may_change_and_all_of_a_document_or_nothing(on_simulator):
    async def scenario(client):
        assert await ok(client, "POST", "assets", {"symbol": "AAPL", "shortable": False}) == {"changed": 1}
        assert (await client.call("GET", "/v2/assets/AAPL"))[1]["shortable"] is False
        wrong = [{"symbol": "AAPL", "tradable": False}, {"symbol": "AAPL", "fractionable": "no"}]
        await refused(client, "assets", wrong, "fractionable")
        await refused(client, "assets", [wrong[0], {"symbol": "NOPE", "tradable": False}], "NOPE")
        assert (await client.call("GET", "/v2/assets/AAPL"))[1]["tradable"] is True

    on_simulator(scenario)


def test_a_split_and_a_new_name(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.buy(qty="10")
        await client.buy(type="limit", limit_price="100", time_in_force="gtc")
        for _ in range(5):
            await ws.receive_bytes(timeout=10)
        await ok(client, "POST", "corporate-actions", {"symbol": "AAPL", "split": [4, 1]})
        update = orjson.loads(await ws.receive_bytes(timeout=10))["data"]
        assert (update["event"], update["order"]["time_in_force"]) == ("canceled", "gtc")
        assert (await client.call("GET", "/v2/positions/AAPL"))[1]["qty"] == "40"
        await ok(client, "POST", "corporate-actions", {"symbol": "AAPL", "rename": "PEAR"})
        assert (await client.call("GET", "/v2/positions/PEAR"))[1]["qty"] == "40"
        done = (await client.truth())["corporate_actions"]
        assert [(a["symbol"], a["new_symbol"], a["qty_before"], a["qty_after"]) for a in done] == [
            ("AAPL", "AAPL", "10", "40"),
            ("AAPL", "PEAR", "40", "40"),
        ]

    on_simulator(scenario)


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ({"symbol": "AAPL"}, "a split or a rename"),
        ({"symbol": "AAPL", "split": [2, 1], "rename": "PEAR"}, "a split or a rename"),
        ({"symbol": "AAPL", "split": [0, 1]}, "[new, old]"),
        ({"symbol": "AAPL", "split": [1, 1]}, "[new, old]"),
        ({"symbol": "AAPL", "split": "4:1"}, "[new, old]"),
        ({"symbol": "AAPL", "rename": ""}, "another symbol"),
        ({"symbol": "AAPL", "rename": "AAPL"}, "cannot be renamed"),
        ({"symbol": "NOPE", "split": [2, 1]}, "no asset 'NOPE'"),
        ({"symbol": "AAPL", "merge": "MSFT"}, "unknown key 'merge'"),
        ([{"symbol": "AAPL", "split": [2, 1]}] * 2, "one object"),
    ],
)
def test_an_impossible_corporate_action_is_refused(on_simulator, action, says):
    async def scenario(client):
        await refused(client, "corporate-actions", action, says)
        assert (await client.truth())["corporate_actions"] == []

    on_simulator(scenario)


# --- the way back ------------------------------------------------------------------------------------------------


def test_a_reset_may_begin_otherwise_and_the_next_one_as_at_first(on_simulator):
    async def scenario(client):
        options = {
            "cash": 5000,
            "quirks": {"order_class_text": "simple"},
            "latency": {"ack": 1.5},
            "multiplier": 1,
            "fills": "instant",
        }
        await ok(client, "POST", "reset", options)
        truth = await client.truth()
        assert (truth["account"]["cash"], truth["account"]["multiplier"]) == ("5000", "1")
        assert (truth["quirks"]["order_class_text"], truth["latency"]["ack_ns"]) == ("simple", 1_500_000)
        await client.quote("AAPL", 149.98, 150.0)
        assert (await client.buy())[1]["order_class"] == "simple"
        await ok(client, "POST", "reset")
        truth = await client.truth()
        assert (truth["account"]["cash"], truth["quirks"]["order_class_text"]) == ("7000", "empty")

    on_simulator(scenario, cash="7000")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"listen": "127.0.0.1:1"}, "no option 'listen'"),
        ({"cash": -1}, "less than nothing"),
        ({"quirks": {"recancel": "maybe"}}, "recancel"),
        ({"latency": {"ack": -1}}, "latency ack"),
    ],
)
def test_a_reset_that_makes_no_sense_changes_nothing(on_simulator, options, says):
    async def scenario(client):
        await client.buy()
        await refused(client, "reset", options, says)
        assert len((await client.truth())["orders"]) == 1

    on_simulator(scenario)


def test_a_reset_changes_the_habits_of_the_streams_too(on_simulator):
    async def scenario(client):
        await ok(client, "POST", "reset", {"quirks": {"event_ids": "absent"}})
        await client.quote("AAPL", 149.98, 150.0)
        ws = await client.listen()
        await client.buy()
        assert "event_id" not in orjson.loads(await ws.receive_bytes(timeout=10))["data"]

    on_simulator(scenario, quirks=Quirks.of({"event_ids": "present"}), latency=Latency())


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([BUY_SPY, {"symbol": "aapl", "bid": 1}], "'aapl' is neither like AAPL nor like BTC/USD"),
        ([BUY_SPY, {"symbol": "\ud800", "bid": 1}], "not JSON"),
        ([BUY_SPY, {"symbol": "BTCUSD", "bid": 1}], "the market knows 'BTCUSD' as 'BTC/USD'"),
        ([BUY_SPY, {"symbol": "AAPL", "price": 0}], "price is 0; a print has one above zero"),
        ([BUY_SPY, {"symbol": "AAPL", "price": None}], "price is None"),
        ([BUY_SPY, {"symbol": "AAPL", "price": 150, "size": 0}], "size is 0"),
        (
            [BUY_SPY, {"symbol": "AAPL", "price": 150}, {"symbol": "AAPL", "correct": 1, "price": 0}],
            "price is 0",
        ),
    ],
)
def test_a_market_that_makes_no_sense_is_refused_as_a_whole(on_simulator, rows, says):
    async def scenario(client):
        raw = json.dumps(rows)  # half a surrogate pair too
        status, answer = await client.call("POST", "/sim/v1/market", data=raw)
        assert status == 400
        assert says in answer["message"]
        quotes = (await client.call("GET", "/v2/stocks/quotes/latest?symbols=SPY"))[1]["quotes"]
        assert quotes == {}
        assert (await client.call("GET", "/sim/v1/truth"))[0] == 200

    on_simulator(scenario)


@pytest.mark.parametrize("path", ["market", "faults", "account", "assets", "corporate-actions", "reset"])
@pytest.mark.parametrize("depth", [100, 100_000])
def test_nesting_without_end_is_refused_everywhere(on_simulator, path, depth):
    async def scenario(client):
        raw = f'{{"symbol": "AAPL", "body": {"[" * depth}{"]" * depth}}}'
        status, answer = await client.call("POST", f"/sim/v1/{path}", data=raw)
        assert (status, answer) == (400, {"message": "not JSON: nested too deeply"})

    on_simulator(scenario)


def test_a_control_that_is_not_there_says_what_is(on_simulator):
    async def scenario(client):
        status, answer = await client.call("POST", "/sim/v1/markets")
        assert status == 404
        assert answer["message"].startswith("no control /sim/v1/markets; there are /sim/v1/account, ")
        status, answer = await client.call("DELETE", "/sim/v1/clock")
        assert (status, answer) == (405, {"message": "/sim/v1/clock takes GET, HEAD, POST, not DELETE"})

    on_simulator(scenario)


def test_a_rename_is_to_a_symbol(on_simulator):
    async def scenario(client):
        body = {"symbol": "AAPL", "rename": "a pear"}
        await refused(client, "corporate-actions", body, "'a pear' is neither like AAPL")

    on_simulator(scenario)
