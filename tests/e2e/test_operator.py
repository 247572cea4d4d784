"""The operator's hand on a real daemon and a real exchange: cancel, amend, close, adopt, reduce-only, flatten, resume."""

from __future__ import annotations

import json
import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hands.cli.main import app
from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operator.md"
ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]*")
RUN: set[str] = set()
"""The commands that were run, with every id as the page writes one."""


def _shown() -> set[str]:
    """Return the commands in the code blocks of the operator's page, without their comments."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return {" ".join(shlex.quote(word) for word in words[1:]) for words in lines if words[0] == "hands"}


def hands(floor: Floor, *arguments: object, code: int | None = 0) -> Any:
    """Run a command against the floor; return its JSON document."""
    words = [str(argument) for argument in arguments]
    RUN.add(" ".join(shlex.quote(ID.sub("6f9619ff", word)) for word in words))
    result = CliRunner().invoke(app, [*words, "--state", str(floor.state), "--json"])
    assert code is None or result.exit_code == code, (words, result.exit_code, result.output)
    return json.loads(result.stdout)


def _resting(floor: Floor, symbol: str) -> set[tuple[str, int]]:
    """Return the price and quantity of every exit of a symbol that is live at the exchange."""
    live = [o for o in floor.orders(symbol=symbol) if o["status"] in ("new", "held", "accepted")]
    return {(f"{float(o['stop_price'] or o['limit_price']):g}", int(o["qty"])) for o in live}


def buy_as_the_owner(floor: Floor, symbol: str, qty: int) -> None:
    """Buy something in the broker's own app, and wait until the daemon knows that it is not ours."""
    body = {"symbol": symbol, "qty": str(qty), "side": "buy", "type": "market", "time_in_force": "day"}
    status, order = floor.request("POST", "/v2/orders", body)
    assert status == 200, order
    until(f"the owner's {symbol}", lambda: floor.held(symbol) == qty)
    until(
        f"{symbol} among what is not ours",
        lambda: [
            o for o in hands(floor, "positions")["others"] if (o["symbol"], o["qty"]) == (symbol, str(qty))
        ],
        40,
    )


def _exported(floor: Floor, trades: set[str]) -> None:
    """What is exported while the daemon runs is what the exchange did, to the last digit."""
    in_2026 = ("--from", "2026-01-01", "--to", "2027-01-01", "--tz", "America/New_York")
    assert {row["intent_id"] for row in hands(floor, "export", "trades", *in_2026)["rows"]} <= trades
    until(
        "every trade is exported",
        lambda: {row["intent_id"] for row in hands(floor, "export", "trades")["rows"]} == trades,
    )
    truth = {fill["execution_id"]: fill for fill in floor.truth()["fills"]}
    fills = hands(floor, "export", "fills")["rows"]
    for row in fills:
        fill = truth[row["execution_id"]]
        assert (Decimal(row["qty"]), Decimal(row["price"]), row["side"]) == (
            Decimal(fill["qty"]),
            Decimal(fill["price"]),
            fill["side"],
        )
    assert {row["intent_id"] for row in fills} == trades
    judged = hands(floor, "export", "intents")["rows"]
    assert {row["code"] for row in judged} >= {"OK", "REDUCE_ONLY", "HALTED"}
    later = hands(floor, "export", "intents", "--from", "2026-11-20T14:30:00Z")["rows"]
    assert {row["intent_id"] for row in later} <= {row["intent_id"] for row in judged}


def test_the_operators_hand(floor: Floor) -> None:
    floor.setting(truth_s=1.0)
    floor.open()

    armed = floor.drop("AAPL", entry="touch", trigger_price=149.5, stop_loss=147.5, arm_seconds=600)
    floor.expect(armed, "ARMED")
    cancelled = hands(floor, "cancel", armed[:8])
    assert (cancelled["ok"], cancelled["intent_ids"]) == (True, [armed])
    floor.expect(armed, "CANCELED")
    assert hands(floor, "cancel", armed, code=1)["ok"] is False

    bought = floor.drop("AAPL")
    floor.protected(bought)
    looser = hands(floor, "amend", bought, "--stop", "147", code=1)
    assert "tightened" in looser["error"]
    hands(floor, "amend", bought[:8], "--stop", "149", "--target", "156")
    until("the stop at its new price", lambda: _resting(floor, "AAPL") == {("149", 66), ("156", 66)})
    hands(floor, "close", bought[:8], "--qty", "20")
    until("the rest under both again", lambda: _resting(floor, "AAPL") == {("149", 46), ("156", 46)})
    closed = hands(floor, "close", "AAPL", "--wait")
    assert (closed["done"], closed["trades"][0]["state"]) == (True, "CLOSED")
    assert floor.expect(bought, "CLOSED")["exit"]["reason"] == "MANUAL"
    assert (floor.held("AAPL"), floor.stops("AAPL")) == (0, 0)

    buy_as_the_owner(floor, "SPY", 10)
    hands(floor, "adopt", "SPY", "--stop", "600.50", code=1)  # the market is through it
    [adopted] = hands(floor, "adopt", "SPY", "--stop", "590")["intent_ids"]
    until("a stop for the adopted SPY", lambda: floor.stops("SPY") == 10)
    [row] = hands(floor, "positions")["owned"]
    assert (row["symbol"], row["agent"], row["take_profit"]) == ("SPY", "operator", None)
    assert (row["stop_loss"], row["protected_qty"]) == ("590.00", "10")

    quiet = hands(floor, "reduce-only", "--reason", "quiet until the numbers are out")
    assert quiet["state"] == "REDUCE_ONLY"
    assert floor.expect(floor.drop("AAPL"))["code"] == "REDUCE_ONLY"
    assert hands(floor, "halt", "--reason", "news I do not understand")["status"]["state"] == "HALTED"
    assert floor.expect(floor.drop("AAPL"))["code"] == "HALTED"
    assert hands(floor, "resume")["ok"]
    assert hands(floor, "status")["state"] == "ACTIVE"

    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    flat = hands(floor, "flatten", "--yes", "--wait", "--reason", "enough")
    assert (flat["done"], flat["state"]) == (True, "HALTED")
    assert set(flat["intent_ids"]) == {adopted, coins}
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "HALT"
    assert floor.held("SPY") == 0
    assert floor.held("SOL/USD") < Decimal("0.001")
    until("SPY's episode", lambda: floor.rows("SELECT * FROM trade_episodes WHERE asset = 'SPY'"))
    _exported(floor, {bought, adopted, coins})

    floor.kill()
    down = hands(floor, "orders", "--all")
    assert {order["leg"] for order in down["orders"]} >= {"entry", "sl", "exit"}
    floor.launch().ready()
    [reason] = hands(floor, "status", code=1)["reasons"]
    assert (reason["code"], reason["detail"]) == ("FLATTEN", "enough")
    told = [each["text"] for each in hands(floor, "log", "--since", "1h")["happened"]]
    assert any(text.startswith("FLATTEN set; trading is HALTED") for text in told)
    assert any(text.startswith("trade over by MANUAL") for text in told)
    assert hands(floor, "resume")["blocking"] == []
    assert hands(floor, "orders")["orders"] == []
    assert hands(floor, "explain", bought[:8])["trade"]["exit_reason"] == "MANUAL"
    assert hands(floor, "explain", adopted)["receipt"]["exit"]["reason"] == "HALT"
    assert _shown() - RUN == set(), "every command that the page shows is run here"
    assert len(_shown()) > 12
