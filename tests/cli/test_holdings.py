"""positions and orders: from the daemon, from the ledger with it down, and what a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hands.cli.holdings import order_lines, position_lines
from hands.core.events import OperatorAction
from hands.core.units import nano
from hands.journal.ledger import Ledger
from hands.journal.schema import encode_row
from hands.journal.store import JournalStore
from hands.runtime import holdings
from tests.core.desk import Desk
from tests.core.world import intent_id

ONE = intent_id(1)


def owning() -> Desk:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    return desk


def keep_in_ledger(state_dir: Path, desk: Desk) -> None:
    """Write what a daemon would have written of `desk` to the ledger of `state_dir`."""
    import orjson

    from hands.core.commands import Record
    from hands.core.receipts import receipt

    journal = JournalStore(state_dir / "journal.db")
    for _, command in desk.commands:
        if isinstance(command, Record):
            journal.outbox(1, command.table, encode_row(command.row))
    for ticket in (*desk.state.tickets.values(), *desk.state.finished.values()):
        told = receipt(desk.state, ticket)
        row = {"intent_id": ticket.intent_id, "state": told["state"], "receipt": orjson.dumps(told).decode()}
        journal.outbox(1, "intents", encode_row(row))
    journal.commit()
    ledger = Ledger(state_dir / "hands.db", journal.path)
    ledger.start()
    ledger.wake()
    assert ledger.flush(5)
    ledger.close(5)
    journal.close()


def answers(daemon: Any, desk: Desk) -> dict[str, Any]:
    found = holdings.positions(desk.state, desk.now_ns) | {"watchdog": None}
    daemon.answers["positions"] = {"ok": True, "positions": found}
    daemon.answers["orders"] = {"ok": True, "orders": holdings.orders(desk.state, every=False)}
    return found


def test_positions_are_the_daemons(hands, daemon) -> None:
    found = answers(daemon, owning())
    result = hands("positions", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document) == (0, found)
    lines = hands("positions", "--state", daemon.state_dir).stdout.splitlines()
    assert lines[0].split()[:3] == ["symbol", "qty", "entry"]
    assert lines[1].split()[:6] == ["AAPL", "LONG", "66", "150.00", "149.98", "-1.32"]
    assert "venue_bracket" in lines[1]


def test_a_position_that_is_naked_for_too_long_exits_1(hands, daemon) -> None:
    desk = owning()
    desk.state.tickets[ONE].naked_since_ns = type(desk.state.now_ns)(desk.now_ns - 3_000_000_000)
    answers(daemon, desk)
    result = hands("positions", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "NOT PROTECTED, at least in part, for 3.0 s" in result.stdout


def test_orders_are_the_daemons(hands, daemon) -> None:
    answers(daemon, owning())
    result = hands("orders", "--state", daemon.state_dir, "--json")
    assert result.exit_code == 0
    assert [order["leg"] for order in result.document["orders"]] == ["tp", "sl"]
    hands("orders", "--all", "--state", daemon.state_dir)
    assert [request["all"] for request in daemon.asked] == [False, True]


def test_with_the_daemon_down_the_ledger_tells_both(hands, state_dir: Path) -> None:
    keep_in_ledger(state_dir, owning())
    result = hands("positions", "--state", state_dir, "--json")
    assert result.exit_code == 0
    assert "no daemon runs" in result.stderr
    document = result.document
    assert (document["daemon"], document["state"]) == (False, "DOWN")
    [row] = document["owned"]
    assert (row["symbol"], row["qty"], row["avg_price"], row["mark"]) == ("AAPL", "66", "150.00", None)
    assert row["protection"]["kind"] == "venue_bracket"
    assert "AAPL" in hands("positions", "--state", state_dir).stdout

    working = hands("orders", "--state", state_dir, "--json").document["orders"]
    assert [(order["leg"], order["qty"]) for order in working] == [("tp", "66"), ("sl", "66")]
    everything = hands("orders", "--all", "--state", state_dir, "--json").document["orders"]
    assert [order["leg"] for order in everything] == ["entry", "tp", "sl"]
    assert "bought" not in hands("orders", "--all", "--state", state_dir).stdout


def test_while_a_daemon_starts_the_ledger_tells_what_is_owned(hands, daemon) -> None:
    keep_in_ledger(daemon.state_dir, owning())
    for do in ("positions", "orders"):
        daemon.answers[do] = {"ok": False, "error": "still starting", "starting": True}
    result = hands("positions", "--state", daemon.state_dir)
    assert "still starting; what rests at the venue protects" in result.stderr
    assert result.stdout.splitlines()[1].split()[:3] == ["AAPL", "LONG", "66"]
    assert "tp" in hands("orders", "--state", daemon.state_dir).stdout
    daemon.states("status", "ACTIVE", ready=False, starting=True)
    told = hands("status", "--state", daemon.state_dir)
    assert (told.exit_code, told.stdout.split()[0]) == (1, "STARTING")


def test_with_the_daemon_down_a_trade_has_the_levels_that_it_was_amended_to(hands, state_dir: Path) -> None:
    desk = owning()
    moved = {"stop_loss": nano("149"), "take_profit": nano("156.5")}
    desk.operator(OperatorAction.AMEND, target="AAPL", **moved)
    desk.run(1)
    keep_in_ledger(state_dir, desk)
    [row, *_] = hands("positions", "--state", state_dir, "--json").document["owned"]
    assert (row["stop_loss"], row["take_profit"]) == ("149.00", "156.50")
    [trade, *_] = hands("status", "--state", state_dir, "--json").document["trades"]
    assert (trade["stop_loss"], trade["take_profit"]) == ("149.00", "156.50")


def test_both_rows_have_the_same_members_up_and_down(hands, state_dir: Path, serve) -> None:
    desk = owning()
    keep_in_ledger(state_dir, desk)
    live = holdings.positions(desk.state, desk.now_ns)
    down = hands("positions", "--state", state_dir, "--json").document
    assert down["owned"][0].keys() == live["owned"][0].keys()
    assert live.keys() - down.keys() == set()
    orders = hands("orders", "--state", state_dir, "--json").document["orders"]
    assert orders[0].keys() == holdings.orders(desk.state, every=False)["orders"][0].keys()


@pytest.mark.parametrize("command", ["positions", "orders"])
def test_without_daemon_and_ledger_there_is_nothing_to_say(hands, state_dir: Path, command: str) -> None:
    result = hands(command, "--state", state_dir, "--json")
    assert result.exit_code == 3
    assert result.document["ok"] is False


def test_nothing_is_said_plainly() -> None:
    desk = Desk()
    assert position_lines(holdings.positions(desk.state, desk.now_ns)) == ["Hands owns nothing"]
    assert order_lines(holdings.orders(desk.state, every=True)) == ["no orders"]


def test_what_is_not_ours_and_the_watchdog_are_named() -> None:
    desk = owning()
    desk.state.foreign = {"TSLA": "a holding of 7 that is not ours"}
    found = holdings.positions(desk.state, desk.now_ns)
    lines = position_lines(found | {"watchdog": {"state": "late", "detail": "no beat for 3 s"}})
    assert any("TSLA" in line and "a holding of 7" in line for line in lines)
    assert lines[-1] == "watchdog: late, no beat for 3 s"
