"""A market-data stream that breaks, falls silent, repeats and shuffles: nobody trades on what is old, and afterwards the
indicators are those of somebody who heard everything.

What everybody should have heard is the exchange's own history, fed in order to a market of the test's own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from hands.core.market import Market, RowKind, new_rows
from hands.venues.alpaca.conditions import flags_of
from tests.e2e.harness import MARKET, Floor, until

pytestmark = pytest.mark.e2e

LATEST = "GET /v2/stocks/*/quotes/latest"
SYMBOL = "AAPL"


@pytest.fixture
def floor(new_floor: Callable[..., Floor]) -> Floor:
    """A floor whose bars are of one and five seconds, and whose patience is short."""
    floor = new_floor()
    floor.setting(intervals_s="[1, 5]", mute_after_s=0.5, audit_s=1.0)
    floor.limit(quote_age_max_ms=600)
    return floor


class Trader:
    """Prints trades on a path of its own, each with a quote around it."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._steps = itertools.cycle([0.03, -0.02, 0.05, -0.04, 0.01, -0.05, 0.02, 0.04, -0.03, -0.01])
        self.price = 150.00
        self.printed = 0

    def trade(self, times: int = 1) -> None:
        """Print `times` trades, each in a frame of its own."""
        for _ in range(times):
            self.price = round(self.price + next(self._steps), 2)
            self.printed += 1
            self._floor.market(
                {"symbol": SYMBOL, "price": self.price, "size": 10 + self.printed % 7},
                {"symbol": SYMBOL, "bid": round(self.price - 0.01, 2), "ask": round(self.price + 0.01, 2), "bid_size": 500, "ask_size": 500},
            )  # fmt: skip


def _ns(text: str) -> int:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


def _heard_by_all(floor: Floor) -> dict[str, Any]:
    """Return the indicators of a market that heard every trade of the exchange's history, in order."""
    status, page = floor.request("GET", f"/v2/stocks/{SYMBOL}/trades?start=2020-01-01&limit=10000")
    assert status == 200
    rows = new_rows(len(page["trades"]))
    for row, trade in zip(rows, page["trades"], strict=True):
        counts = 0 if trade.get("u") in {"canceled", "incorrect"} else flags_of(tuple(trade["c"]), trade["z"])
        row["kind"], row["flags"], row["price"], row["size"] = RowKind.TRADE, counts, trade["p"], trade["s"]
        row["venue_ns"], row["trade_id"] = _ns(trade["t"]), trade["i"]
    market = Market((SYMBOL,), (1, 5), suspicious_jump=0.10)
    market.pass_time(0, rows["venue_ns"][0] - 60 * 10**9)  # the daemon has asked what was before
    market.consume(rows, 0, len(rows))
    return msgspec.structs.asdict(market.indicators(0))


def _heard(floor: Floor) -> dict[str, Any]:
    return floor.ask(do="quote", symbols=[SYMBOL])["quotes"][0]["indicators"]


def _differences(floor: Floor) -> dict[str, tuple[Any, Any]]:
    found, expected = _heard(floor), _heard_by_all(floor)
    return {
        name: (found[name], value)
        for name, value in expected.items()
        if found[name] != value
        and (value is None or found[name] is None or found[name] != pytest.approx(value, rel=1e-9))
    }


def _expect_all_heard(floor: Floor, within_s: float = 40.0) -> None:
    """Wait until the daemon's indicators are those of the whole history, and say how they differ if they never are."""
    deadline = time.monotonic() + within_s
    while differences := _differences(floor):
        assert time.monotonic() < deadline, differences
        time.sleep(0.05)
    assert _heard(floor)["tick_rsi_14"] is not None


def _down(floor: Floor) -> bool:
    return not floor.status()["links"]["equity_data"]


def _up(floor: Floor) -> bool:
    return floor.status()["links"]["equity_data"]


def _let_it_age(floor: Floor) -> None:
    until("an old quote", lambda: floor.ask(do="quote", symbols=[SYMBOL])["quotes"][0]["age_ms"] > 600)


def test_trades_that_were_made_while_the_stream_was_away_are_not_missing_afterwards(floor: Floor) -> None:
    floor.open()
    trader = Trader(floor)
    trader.trade(20)
    floor.faults({"on": "market_data", "do": "disconnect"})
    trader.trade(15)  # the first of them takes the stream down; nobody hears the others
    until("the feed is back", lambda: _up(floor))
    trader.trade(5)
    _expect_all_heard(floor)
    assert _heard(floor)["volume"] > 0
    until("the gap is over", lambda: floor.status()["streams"]["equity_data"]["gaps"]["filled"] == 1)
    stream = floor.status()["streams"]["equity_data"]
    assert (stream["up"], stream["gaps"]["filling"], stream["dropped"]) == (True, False, 0)
    assert stream["gaps"]["trades"] >= 10
    assert stream["gaps"]["last"] >= stream["since"]


def test_a_refused_reconnect_is_waited_out_and_what_was_missed_is_fetched(floor: Floor) -> None:
    floor.open()
    trader = Trader(floor)
    trader.trade(20)
    floor.faults(
        {"on": "market_data", "do": "refuse_reconnect", "times": 2}, {"on": "market_data", "do": "disconnect"}
    )
    trader.trade(1)
    until("the feed is down", lambda: _down(floor))
    began = time.monotonic()
    trader.trade(10)
    _let_it_age(floor)
    stale = floor.expect(floor.drop(**_around(trader.price)), "REJECTED", code="STALE_MARKET_DATA")
    assert stale["retry"] == "after"
    until("the feed is back", lambda: _up(floor), within_s=40)
    assert time.monotonic() - began < 30, "the venue's rules do not ask for more patience than that"
    trader.trade(5)
    _expect_all_heard(floor)
    floor.protected(floor.drop(**_around(trader.price)))


def _around(price: float) -> dict[str, float]:
    """Return an idea's prices at a market of `price`."""
    return {
        "trigger_price": round(price + 0.01, 2),
        "stop_loss": round(price - 2, 2),
        "take_profit": round(price + 5, 2),
    }


def test_trap_24_a_mute_stream_is_noticed_and_nobody_trades_on_what_it_said_last(floor: Floor) -> None:
    floor.open()
    trader = Trader(floor)
    trader.trade(20)
    floor.faults(
        {"on": "market_data", "do": "mute", "for_ms": 4000},
        {"on": LATEST, "do": "status", "status": 500, "times": 3},
    )
    muted = time.monotonic()
    trader.trade(10)
    _let_it_age(floor)
    floor.expect(floor.drop(**_around(trader.price)), "REJECTED", code="STALE_MARKET_DATA")
    assert time.monotonic() - muted < 4
    assert not floor.orders()
    until("the mute is over", lambda: time.monotonic() - muted > 4.2)
    trader.trade(3)
    _expect_all_heard(floor)
    floor.protected(floor.drop(**_around(trader.price)))


def _printed(floor: Floor, *rows: dict[str, Any]) -> list[int]:
    """Publish rows and return the numbers of the prints among them."""
    status, answer = floor.request("POST", "/sim/v1/market", list(rows))
    assert status == 200, answer
    return answer.get("trade_ids", [])


def test_what_the_tapes_take_back_halt_and_report_late_is_as_if_it_had_been_right_at_once(
    floor: Floor,
) -> None:
    """Corrections, cancellations, prints out of sequence, a halt that ends, frames that come twice or overtake each other."""
    floor.open()
    trader = Trader(floor)
    trader.trade(25)
    wild, wrong, gone, lonely = (
        {"symbol": SYMBOL, "price": 171.0, "size": 40, "conditions": ["Z"]},
        {"symbol": SYMBOL, "price": 163.5, "size": 300},
        {"symbol": SYMBOL, "price": 149.25, "size": 700},
        {"symbol": SYMBOL, "price": 15.0, "size": 4000},  # a slip of the point that nobody takes back
    )
    numbers = _printed(floor, wild, wrong, gone, lonely)
    trader.trade(5)
    until("the wrong prints", lambda: (_heard(floor)["volume"] or 0) > 1000)
    _printed(floor, {"symbol": SYMBOL, "correct": numbers[1], "price": 150.02, "size": 30})
    _printed(floor, {"symbol": SYMBOL, "cancel": numbers[2]})
    _expect_all_heard(floor)

    _printed(floor, {"symbol": SYMBOL, "status": "H", "reason": "T12", "reason_message": "News pending"})
    until("the halt", lambda: "is halted" in floor.daemon.said)
    halted = floor.expect(floor.drop(**_around(trader.price)), "REJECTED", code="ASSET_NOT_TRADABLE")
    assert halted["retry"] == "after"
    assert "News pending" in halted["message"]
    assert floor.orders() == []
    _printed(floor, {"symbol": SYMBOL, "status": "T"})
    until("trading", lambda: "trades again" in floor.daemon.said)

    for trouble in ("duplicate", "reorder"):
        floor.faults({"on": "market_data", "do": trouble, "times": 6})
        trader.trade(12)
    until("what was held back", lambda: _heard(floor)["volume"] == _heard_by_all(floor)["volume"])
    trader.trade(2)
    _expect_all_heard(floor)
    status = floor.status()
    stream = status["streams"]["equity_data"]
    assert (status["state"], stream["up"], stream["dropped"], stream["suspicious"]) == ("ACTIVE", True, 0, 1)
    assert stream["repeated"] >= 3
    floor.protected(floor.drop(**_around(trader.price)))


def test_single_frames_that_are_lost_are_found_in_history(floor: Floor) -> None:
    floor.open()
    trader = Trader(floor)
    trader.trade(20)
    floor.faults({"on": "market_data", "do": "mute", "times": 3})
    trader.trade(9)
    assert _differences(floor), "nothing was lost"
    _expect_all_heard(floor)
    assert _up(floor)


def test_a_symbol_that_is_quiet_on_a_live_feed_costs_no_connection(floor: Floor) -> None:
    """AAPL says nothing for three times the patience, the others talk; the venue confirms that there is nothing newer."""
    floor.open()
    trader = Trader(floor)
    trader.trade(3)
    others = [row for row in MARKET if row["symbol"] != SYMBOL]
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        floor.market(*others)
        time.sleep(0.1)
    assert "equity_data is down" not in floor.daemon.said
    floor.protected(floor.drop(**_around(trader.price)))


def test_a_quiet_market_costs_no_connection(floor: Floor) -> None:
    floor.open()
    Trader(floor).trade(3)
    until("silence", lambda: floor.ask(do="quote", symbols=[SYMBOL])["quotes"][0]["age_ms"] is not None)
    silent = time.monotonic()
    until("a silence that is judged more than once", lambda: time.monotonic() - silent > 2)
    assert "is down" not in floor.daemon.said
    assert floor.status()["links"]["equity_data"]


def test_a_daemon_that_starts_late_knows_what_was_traded_before(floor: Floor) -> None:
    trader = Trader(floor)
    trader.trade(30)
    floor.open()
    trader.trade(3)
    _expect_all_heard(floor)
