"""Whole trades: the contract's example, and coins whose exits the engine holds itself."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e

STAMPS = ("file_event", "decided", "journaled", "sent", "acked", "filled")


def test_the_contracts_example_is_one_bracket_of_66_shares_at_150_15(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop(thesis="as in the contract")
    receipt = floor.protected(intent_id)

    (entry,) = floor.orders(type="limit", side="buy")
    assert (entry["symbol"], entry["order_class"], entry["qty"], entry["status"]) == (
        "AAPL",
        "bracket",
        "66",
        "filled",
    )
    assert (entry["limit_price"], entry["time_in_force"]) == ("150.15", "gtc")
    profit, stop = floor.orders(side="sell")
    assert (profit["limit_price"], profit["stop_price"], profit["status"]) == ("155", None, "new")
    assert (stop["limit_price"], stop["stop_price"], stop["status"]) == (None, "148", "held")
    assert len(floor.orders()) == 3
    assert floor.held("AAPL") == 66
    sent = [r for r in floor.truth()["requests"] if (r["method"], r["path"]) == ("POST", "/v2/orders")]
    assert len(sent) == 1

    said = {name: receipt[name] for name in ("v", "kind", "agent", "venue", "verdict", "code", "state")}
    assert said == {
        "v": 1, "kind": "intent", "agent": "default", "venue": "sim", "verdict": "ACCEPTED", "code": "OK", "state": "OPEN",
    }  # fmt: skip
    assert receipt["sizing"]["binding"] == "max_position_size"
    assert receipt["sizing"]["caps"]["max_risk_per_trade"] == "930"
    assert receipt["sizing"]["caps"]["max_position_size"] == "66"
    assert receipt["order"] == {
        "client_order_id": entry["client_order_id"],
        "order_class": "bracket",
        "side": "buy",
        "qty": "66",
        "limit_price": "150.15",
        "take_profit": "155",
        "stop_loss": "148",
        "risk_usd": "141.90",
        "notional_usd": "9909.90",
    }
    assert receipt["position"] == {"qty": "66", "avg_price": "150.00"}
    assert receipt["protection"]["kind"] == "venue_bracket"
    assert (receipt["protection"]["stop"], receipt["protection"]["qty"]) == ("148", "66")
    assert [fill["leg"] for fill in receipt["fills"]] == ["entry"]
    assert all(check["ok"] for check in receipt["checks"])
    assert (receipt["nearest_admissible"], receipt["retry"], receipt["exit"]) == (None, "never", None)
    stamps = [receipt["stamps_ns"][name] for name in STAMPS]
    assert stamps == sorted(stamps)
    archived = list((floor.intents / "archive").glob(f"*/{intent_id}.json"))
    assert len(archived) == 1
    assert b"as in the contract" in archived[0].read_bytes()


def test_a_bracket_closes_at_its_target_and_is_remembered(floor: Floor) -> None:
    floor.open()
    cash = Decimal(floor.truth()["account"]["cash"])
    floor.expect(floor.drop(confidence=0.1), "REJECTED", code="CONFIDENCE_TOO_LOW")
    intent_id = floor.drop(thesis="up", context={"vix_at_entry": 17.5, "regime": "calm"})
    floor.protected(intent_id)
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "TP"
    episode = floor.episode(intent_id)
    _right_to_the_cent(floor, receipt, episode, cash)
    assert (episode["exit_reason"], episode["asset"], episode["qty"], episode["fees"]) == (
        "TP",
        "AAPL",
        66,
        0,
    )
    assert (episode["entry_price"], episode["exit_price"]) == (150.0, 155.1)
    assert (episode["agent_thesis"], episode["vix_at_entry"], episode["regime"]) == ("up", 17.5, "calm")
    assert episode["expected_pnl"] == pytest.approx((155 - 150.15) * 66)
    assert (episode["funding_rate"], episode["volume_24h"]) == (None, None)
    assert 0 < episode["latency_ns"] < 10**9
    _a_no_teaches_and_what_happened_is_explained(floor, intent_id)


def _a_no_teaches_and_what_happened_is_explained(floor: Floor, closed: str) -> None:
    """A denial's suggestion passes when it is sent, the envelope names what blocks, and the ledger tells the story."""
    way = floor.ask(do="envelope", symbol="SOL/USD")["envelope"]["directions"]["LONG"]
    assert (way["admissible"], way["blocks"]) == (True, [])
    denied = floor.expect(floor.drop("SOL/USD", stop_loss=100), "REJECTED", code="STOP_TOO_FAR")
    assert list(denied["nearest_admissible"]) == ["stop_loss"]
    floor.protected(floor.drop("SOL/USD", **denied["nearest_admissible"]))
    blocked = floor.ask(do="envelope", symbol="SOL/USD")["envelope"]["directions"]["LONG"]
    assert [block["code"] for block in blocked["blocks"]] == ["SYMBOL_BUSY"]
    assert floor.stop() == 0
    told = floor.hands("explain", closed)  # from the ledger alone
    assert told.returncode == 0, told.stderr
    assert "ended by TP at 155.10" in told.stdout
    found = json.loads(floor.hands("explain", "--since", "1h", "--json").stdout)
    assert {(row["code"], row["symbol"]): row["count"] for row in found["verdicts"]} == {
        ("OK", "AAPL"): 1,
        ("OK", "SOL/USD"): 1,
        ("STOP_TOO_FAR", "SOL/USD"): 1,
        ("CONFIDENCE_TOO_LOW", "AAPL"): 1,
    }
    gates = json.loads(floor.hands("gates", "--fetch", "--alpaca-url", floor.url, "--json").stdout)["gates"]
    unsure = next(gate for gate in gates if gate["check"] == "confidence")
    assert (unsure["fired"], unsure["valued"], unsure["would_have_won"]) == (1, 1, 1)
    assert unsure["sized_by_caps"] == 1
    assert unsure["usd_sum"] == pytest.approx(66 * 5, abs=66 * 0.15)


@pytest.mark.parametrize(("move", "reason"), [((165.10, 165.20), "TP"), ((144.90, 144.98), "SL")])
def test_coins_rest_on_a_stop_limit_for_the_net_position_until_the_exit(
    floor: Floor, move: tuple[float, float], reason: str
) -> None:
    floor.open()
    cash = Decimal(floor.truth()["account"]["cash"])
    intent_id = floor.drop("SOL/USD")
    receipt = floor.protected(intent_id)
    net = floor.held("SOL/USD")
    (entry,) = floor.entries()
    assert net < Decimal(entry["filled_qty"]), "the fee was not taken in coins"
    (stop,) = floor.orders(side="sell")
    assert (stop["type"], stop["stop_price"], stop["status"], stop["time_in_force"]) == (
        "stop_limit",
        "145",
        "new",
        "gtc",
    )
    assert Decimal(stop["qty"]) == net
    assert receipt["protection"]["kind"] == "venue_stop"

    floor.move("SOL/USD", *move)
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == reason
    until("the position is gone", lambda: floor.held("SOL/USD") < Decimal("0.000001"))
    _right_to_the_cent(floor, receipt, floor.episode(intent_id), cash)
    assert not [o for o in floor.orders(side="sell") if o["status"] in ("new", "accepted", "held")]
    assert floor.naked_max_ms("SOL/USD") < 2000


def _right_to_the_cent(floor: Floor, receipt: dict[str, Any], episode: dict[str, Any], cash: Decimal) -> None:
    """The P&L is what the account gained: cash after less cash before."""
    gained = Decimal(floor.truth()["account"]["cash"]) - cash
    assert abs(Decimal(receipt["exit"]["pnl_usd"]) - gained) <= Decimal("0.01")
    assert abs(Decimal(str(episode["actual_pnl"])) - gained) <= Decimal("0.01")


def test_the_daily_count_and_a_second_trade_on_a_symbol(floor: Floor) -> None:
    floor.open()
    first = floor.drop()
    floor.protected(first)
    busy = floor.expect(floor.drop(take_profit=156), "REJECTED", code="SYMBOL_BUSY")
    assert busy["checks"][-1]["ok"] is False
    assert busy["nearest_admissible"] is None
    assert floor.status()["day"]["trades"] == 1
