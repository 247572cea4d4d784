"""The account, its configurations, the market's hours, the assets and the watchlists over REST."""

from __future__ import annotations

import json

import pytest

from hands.sim.testing import in_process_sim
from hands.sim.venue.quirks import Quirks


def test_configurations_are_shown_changed_and_kept(on_simulator) -> None:
    async def scenario(client) -> None:
        status, before = await client.call("GET", "/v2/account/configurations")
        assert (status, before["suspend_trade"], before["max_margin_multiplier"]) == (200, False, "4")
        change = {"suspend_trade": True, "no_shorting": True}
        expected = 200, before | change
        assert await client.call("PATCH", "/v2/account/configurations", change) == expected
        assert await client.call("GET", "/v2/account/configurations") == expected
        _, account = await client.call("GET", "/v2/account")
        assert (account["trade_suspended_by_user"], account["shorting_enabled"]) == (True, False)
        assert (await client.buy())[0] == 403

    on_simulator(scenario)


def test_a_wrong_configuration_changes_nothing(on_simulator) -> None:
    async def scenario(client) -> None:
        _, before = await client.call("GET", "/v2/account/configurations")
        change = {"suspend_trade": True, "dtbp_check": "never"}
        assert (await client.call("PATCH", "/v2/account/configurations", change))[0] == 422
        assert (await client.call("GET", "/v2/account/configurations"))[1] == before

    on_simulator(scenario)


def test_activities_of_a_session_agree_with_the_truth(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.quote("BTC/USD", 60000, 60010)
        await client.buy(qty="3")
        await client.buy(symbol="BTC/USD", qty="0.01", time_in_force="gtc")
        await client.call("DELETE", "/v2/positions/BTCUSD")
        fills = (await client.truth())["fills"]
        _, rows = await client.call("GET", "/v2/account/activities?direction=asc")
        told = [row for row in rows if row["activity_type"] == "FILL"]
        assert [row["id"].partition("::")[2] for row in told] == [f["execution_id"] for f in fills]
        assert [(row["symbol"], row["qty"], row["price"]) for row in told] == [
            (f["symbol"], f["qty"], f["price"]) for f in fills
        ]
        _, fees = await client.call("GET", "/v2/account/activities/CFEE?direction=asc")
        assert [row.get("qty", row["net_amount"]) for row in fees] == [f"-{f['fee']}" for f in fills[1:]]

    on_simulator(scenario, quirks=Quirks(crypto_fees="at_fill"))


def test_the_portfolio_history_ends_with_what_the_account_is_worth(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.buy(qty="100")
        await client.quote("AAPL", 159.98, 160)
        status, told = await client.call("GET", "/v2/account/portfolio/history?period=1D&timeframe=1Min")
        _, account = await client.call("GET", "/v2/account")
        assert (status, told["timeframe"]) == (200, "1Min")
        assert told["equity"][-1] == pytest.approx(float(account["equity"]))
        assert len({len(told[k]) for k in ("timestamp", "equity", "profit_loss", "profit_loss_pct")}) == 1
        _, refused = await client.call("GET", "/v2/account/portfolio/history?period=1Y")
        assert refused["message"] == "invalid period: 1Y"

    on_simulator(scenario)


def test_the_account_tells_what_it_was_worth_at_the_last_close() -> None:
    clock = {"clock": "manual", "start": "2026-03-10T14:30:00Z", "session": "calendar"}
    with in_process_sim(**clock, fills="instant") as sim:

        def account() -> dict[str, str]:
            return json.loads(sim.call("GET", "/v2/account", None, 10)[1])

        order = {"symbol": "AAPL", "side": "buy", "qty": "10", "type": "market", "time_in_force": "day"}
        sim.quote("AAPL", 99.99, 100)
        assert sim.call("POST", "/v2/orders", order, 10)[0] == 200
        sim.quote("AAPL", 120, 120)
        assert (account()["equity"], account()["last_equity"]) == ("100200", "100000")
        sim.advance_to("2026-03-10T20:00:00Z")
        sim.quote("AAPL", 110, 110)
        assert account()["last_equity"] == "100000"
        sim.advance_to("2026-03-11T14:00:00Z")
        told = account()
        assert (told["equity"], told["last_equity"], told["balance_asof"]) == (
            "100100",
            "100200",
            "2026-03-10",
        )


def test_assets_are_filtered(on_simulator) -> None:
    async def scenario(client) -> None:
        async def symbols(query: str = "") -> list[str]:
            status, assets = await client.call("GET", f"/v2/assets?{query}")
            assert status == 200
            return [asset["symbol"] for asset in assets]

        shares = await symbols()
        assert {"AAPL", "SPY", "GME"} <= set(shares)
        assert not any("/" in symbol for symbol in shares)
        coins = await symbols("asset_class=crypto")
        assert {"BTC/USD", "MKR/USD"} <= set(coins)
        assert "MKR/USD" not in await symbols("asset_class=crypto&status=active")
        assert await symbols("asset_class=crypto&status=inactive") == ["MKR/USD"]
        assert set(await symbols("exchange=NASDAQ")) < set(shares)
        assert set(await symbols("attributes=ptp_no_exception,options_late_close")) == {"UVXY", "SPY"}
        assert await symbols("asset_class=us_option") == []

    on_simulator(scenario)


def test_an_asset_has_many_names(on_simulator) -> None:
    async def scenario(client) -> None:
        _, coin = await client.call("GET", "/v2/assets/BTC%2FUSD")
        assert (coin["symbol"], coin["class"], "borrow_status" in coin) == ("BTC/USD", "crypto", False)
        for name in ("BTCUSD", coin["id"]):
            assert await client.call("GET", f"/v2/assets/{name}") == (200, coin)
        _, share = await client.call("GET", "/v2/assets/GME")
        assert (share["easy_to_borrow"], share["borrow_status"]) == (False, "hard_to_borrow")
        assert "min_order_size" not in share
        assert await client.call("GET", "/v2/assets/NONE") == (
            404,
            {"code": 40410000, "message": "asset not found for NONE"},
        )

    on_simulator(scenario)


WEEK = [
    ("2026-03-06T12:00:00-05:00", "core", "2026-03-06T16:00:00-05:00", True),
    ("2026-03-06T16:00:00-05:00", "post", "2026-03-06T20:00:00-05:00", True),
    ("2026-03-06T20:00:00-05:00", "closed", "2026-03-09T04:00:00-04:00", True),
    ("2026-03-07T12:00:00-05:00", "closed", "2026-03-09T04:00:00-04:00", False),
    ("2026-03-09T03:59:00-04:00", "closed", "2026-03-09T04:00:00-04:00", True),
    ("2026-03-09T04:00:00-04:00", "pre", "2026-03-09T09:30:00-04:00", True),
    ("2026-03-09T09:30:00-04:00", "core", "2026-03-09T16:00:00-04:00", True),
    ("2026-11-27T14:00:00-05:00", "post", "2026-11-27T17:00:00-05:00", True),
]


def test_the_phases_of_a_day(on_simulator) -> None:
    async def scenario(client) -> None:
        for at, name, until, is_market_day in WEEK:
            _, answer = await client.call("GET", f"/v3/clock?markets=NYSE&time={at}")
            (clock,) = answer["clocks"]
            found = clock["timestamp"], clock["phase"], clock["phase_until"], clock["is_market_day"]
            assert found == (at, name, until, is_market_day)

    on_simulator(scenario, session="calendar")


def test_a_market_that_never_closes_is_in_its_core(on_simulator) -> None:
    async def scenario(client) -> None:
        _, answer = await client.call("GET", "/v3/clock?markets=NYSE&time=2026-03-07T23:00:00-05:00")
        (clock,) = answer["clocks"]
        assert (clock["phase"], clock["phase_until"]) == ("core", clock["next_market_close"])
        assert clock["is_market_day"]

    on_simulator(scenario)


def test_clocks_of_several_markets_at_any_time(on_simulator) -> None:
    async def scenario(client) -> None:
        path = "/v3/clock?markets=NYSE,XNAS&time=2026-03-09T12:00:00Z"
        status, answer = await client.call("GET", path)
        assert (status, [c["market"]["mic"] for c in answer["clocks"]]) == (200, ["XNYS", "XNAS"])
        assert {(c["phase"], c["phase_until"], c["timestamp"]) for c in answer["clocks"]} == {
            ("pre", "2026-03-09T09:30:00-04:00", "2026-03-09T08:00:00-04:00")
        }
        assert len((await client.call("GET", "/v3/clock"))[1]["clocks"]) == 4
        assert (await client.call("GET", "/v3/clock?markets=LSE"))[0] == 400

    on_simulator(scenario, session="calendar")


def test_calendars(on_simulator) -> None:
    async def scenario(client) -> None:
        _, days = await client.call("GET", "/v2/calendar?start=2026-11-25&end=2026-11-30")
        assert [(d["date"], d["close"], d["session_close"], d["settlement_date"]) for d in days] == [
            ("2026-11-25", "16:00", "2000", "2026-11-27"),
            ("2026-11-27", "13:00", "1700", "2026-11-30"),
            ("2026-11-30", "16:00", "2000", "2026-12-01"),
        ]
        settling = "/v2/calendar?start=2026-11-27&end=2026-11-30&date_type=SETTLEMENT"
        assert [d["date"] for d in (await client.call("GET", settling))[1]] == ["2026-11-25", "2026-11-27"]
        _, whole = await client.call("GET", "/v2/calendar")
        assert (whole[0]["date"], whole[-1]["date"]) == ("2011-01-03", "2029-12-31")
        _, third = await client.call("GET", "/v3/calendar/NYSE?start=2026-11-27&end=2026-11-27&timezone=UTC")
        assert third["calendar"][0] == {
            "date": "2026-11-27",
            "pre_start": "2026-11-27T09:00:00+00:00",
            "pre_end": "2026-11-27T14:30:00+00:00",
            "core_start": "2026-11-27T14:30:00+00:00",
            "core_end": "2026-11-27T18:00:00+00:00",
            "post_start": "2026-11-27T18:00:00+00:00",
            "post_end": "2026-11-27T22:00:00+00:00",
            "settlement_date": "2026-11-30",
        }
        assert len((await client.call("GET", "/v3/calendar/XNYS"))[1]["calendar"]) in {4, 5, 6}
        for wrong in ("/v2/calendar?date_type=OTHER", "/v2/calendar?start=soon"):
            assert (await client.call("GET", wrong))[0] == 422
        assert (await client.call("GET", "/v3/calendar/XETR"))[0] == 400

    on_simulator(scenario)


def test_a_watchlist_from_its_making_to_its_end(on_simulator) -> None:
    async def scenario(client) -> None:
        async def ask(method: str, path: str, body=None) -> list[str]:
            status, made = await client.call(method, path, body)
            assert status == 200, made
            return [asset["symbol"] for asset in made["assets"]]

        body = {"name": "tech", "symbols": ["AAPL", "MSFT", "AAPL"]}
        _, made = await client.call("POST", "/v2/watchlists", body)
        by_id, by_name = f"/v2/watchlists/{made['id']}", "/v2/watchlists:by_name?name=tech"
        assert await ask("GET", by_id) == await ask("GET", by_name) == ["AAPL", "MSFT"]
        assert await ask("POST", by_id, {"symbol": "BTC/USD"}) == ["AAPL", "MSFT", "BTC/USD"]
        assert await ask("DELETE", f"{by_id}/BTCUSD") == ["AAPL", "MSFT"]
        assert await ask("POST", by_name, {"symbol": "SPY"}) == ["AAPL", "MSFT", "SPY"]
        assert await ask("PUT", by_name, {"name": "tech", "symbols": ["TSLA"]}) == ["TSLA"]
        (listed,) = (await client.call("GET", "/v2/watchlists"))[1]
        assert (listed["name"], "assets" in listed) == ("tech", False)
        assert (await client.call("DELETE", by_name))[0] == 204
        assert (await client.call("GET", by_id))[0] == 404
        assert (await client.call("GET", "/v2/watchlists")) == (200, [])

    on_simulator(scenario)


def test_watchlist_refusals(on_simulator) -> None:
    async def scenario(client) -> None:
        _, made = await client.call("POST", "/v2/watchlists", {"name": "a", "symbols": ["AAPL"]})
        by_id = f"/v2/watchlists/{made['id']}"
        for method, path, body, status in (
            ("POST", "/v2/watchlists", {"name": "a"}, 422),
            ("POST", "/v2/watchlists", {"name": ""}, 422),
            ("POST", "/v2/watchlists", {"name": "x" * 65}, 422),
            ("POST", "/v2/watchlists", {"name": "b", "symbols": "AAPL"}, 422),
            ("POST", "/v2/watchlists", {"name": "b", "symbols": ["NONE"]}, 404),
            ("POST", by_id, {"symbol": "AAPL"}, 422),
            ("DELETE", f"{by_id}/SPY", None, 404),
            ("DELETE", "/v2/watchlists:by_name?name=b", None, 404),
        ):
            assert (await client.call(method, path, body))[0] == status, (method, path, body)
        assert (await client.call("PUT", by_id, {"name": "a"}))[0] == 200  # its own name is no duplicate
        assert len((await client.call("GET", "/v2/watchlists"))[1]) == 1
        await client.call("POST", "/sim/v1/reset")
        assert (await client.call("GET", "/v2/watchlists")) == (200, [])

    on_simulator(scenario)


def test_times_that_no_calendar_knows_are_refused_or_empty(on_simulator) -> None:
    async def scenario(client) -> None:
        for at in ("0001-01-01", "9999-12-31"):
            status, answer = await client.call("GET", f"/v3/clock?time={at}")
            assert (status, answer["message"]) == (422, f"invalid time: {at}")
            for bound in ("start", "end"):
                assert (await client.call("GET", f"/v3/calendar/NYSE?{bound}={at}"))[0] == 200
        assert (await client.call("GET", "/v3/calendar/NYSE?start=9999-12-31"))[1]["calendar"] == []

    on_simulator(scenario)
