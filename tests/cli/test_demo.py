"""The demo: its parts, and the whole of it as a process on real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hands.cli.demo import shipped_limits
from hands.cli.demo_market import HALF_SPREAD, NOISE_MAX, START, DemoMarket
from hands.cli.demo_processes import Child, ChildFailed
from hands.cli.demo_truth import cash_flow, reckon
from hands.core.limits import read_limits
from hands.core.orders import client_order_id
from hands.core.units import NANO
from hands.core.vocab import Leg
from hands.journal.reader import open_ledger
from hands.replay import replay
from tests.rig.story import story

INTENT = "5f0c1e6a-7b2d-4c39-9a41-000000000001"


def test_the_demos_limits_are_the_shipped_ones(root: Path) -> None:
    owners = read_limits((root / "config" / "risk_limits.toml").read_text())
    demos = read_limits(shipped_limits(owners.allow, datetime(2026, 1, 1, 9, tzinfo=UTC)))
    assert demos.hard == owners.hard
    assert (demos.allow, demos.allow_short, demos.session) == (
        owners.allow,
        owners.allow_short,
        owners.session,
    )
    assert demos.roll_time == "21:00"


def test_the_market_moves_only_where_it_is_moved() -> None:
    market = DemoMarket("http://127.0.0.1:1", None, seed=1)  # type: ignore[arg-type]
    market.move("AAPL", 155.0, steps=10)
    for _ in range(500):
        for symbol, level in market.levels.items():
            quote, trade = market._step(symbol, level)
            assert quote["bid"] < quote["ask"]
            assert quote["bid"] <= trade["price"] <= quote["ask"]
            if symbol != "AAPL":
                off = abs((quote["bid"] + quote["ask"]) / 2 - START[symbol])
                assert off <= START[symbol] * NOISE_MAX + HALF_SPREAD[symbol]
    assert market.levels["AAPL"].price == pytest.approx(155.0)
    assert market.factor("AAPL") == pytest.approx(155 / 150)


# --- the reckoning bites -------------------------------------------------------------------------------------


def _truth(**changes: Any) -> dict[str, Any]:
    """A bought and sold trade of one share: +4.90 after a fee of 0.10."""
    entry = {"id": "e", "client_order_id": client_order_id(INTENT, Leg.ENTRY, 1), "parent_id": None, "symbol": "AAPL",
             "qty": "1", "filled_qty": "1", "stop_price": None, "status": "filled"}  # fmt: skip
    leg = entry | {"id": "l", "client_order_id": "venue's own", "parent_id": "e"}
    bought = {"order_id": "e", "side": "buy", "qty": "1", "price": "150", "fee": "0", "fee_asset": "USD"}
    sold = bought | {"order_id": "l", "side": "sell", "price": "155", "fee": "0.1"}
    truth = {
        "orders": [entry, leg],
        "fills": [bought, sold],
        "naked": {},
        "positions": [],
        "account": {"equity": "1"},
    }
    return truth | changes


EPISODE = {"intent_id": INTENT, "asset": "AAPL", "exit_reason": "TP", "actual_pnl_nano": 4_900_000_000,
           "exit_price_nano": 155 * NANO, "qty_nano": NANO}  # fmt: skip


class _Act:
    """As much of an act as the reckoning looks at."""

    def __init__(self, expected: str = "OK", state: str = "CLOSED") -> None:
        self.expected, self.state, self.code = expected, state, expected
        self.dropped = type("Dropped", (), {"intent_id": INTENT})


def _failed(truth: dict[str, Any], finished: list[dict[str, Any]], *acts: _Act) -> list[str]:
    return [e.what for e in reckon(list(acts or (_Act(),)), truth, finished, 2000) if not e.ok]  # type: ignore[arg-type]


def test_a_true_story_is_believed() -> None:
    assert cash_flow(_truth(), INTENT) == (4_900_000_000, 0)
    assert _failed(_truth(), [EPISODE]) == []


def test_a_cent_too_much_is_found() -> None:
    assert len(_failed(_truth(), [EPISODE | {"actual_pnl_nano": 4_910_000_000}])) == 1


def test_a_missing_episode_is_found() -> None:
    assert len(_failed(_truth(), [])) == 1


def test_an_entry_for_what_was_denied_is_found() -> None:
    assert len(_failed(_truth(), [], _Act("SLIPPAGE", "REJECTED"))) == 2


def test_a_second_entry_is_found() -> None:
    truth = _truth()
    again = truth["orders"][0] | {"id": "f"}
    assert len(_failed(truth | {"orders": [*truth["orders"], again]}, [EPISODE])) == 1


def test_an_order_of_nobody_is_found() -> None:
    truth = _truth()
    stray = truth["orders"][0] | {"id": "x", "client_order_id": "mine"}
    assert len(_failed(truth | {"orders": [*truth["orders"], stray]}, [EPISODE])) == 1


def test_naked_time_is_found() -> None:
    assert len(_failed(_truth(naked={"AAPL": {"naked_max_ns": 3 * NANO}}), [EPISODE])) == 1


@pytest.mark.parametrize(("status", "failures"), [("held", 0), ("canceled", 1)])
def test_a_position_without_a_working_stop_is_found(status: str, failures: int) -> None:
    truth = _truth(positions=[{"symbol": "AAPL", "qty": "1", "current_price": "150"}])
    truth["orders"][1] |= {"stop_price": "148", "status": status, "filled_qty": "0"}
    assert len(_failed(truth, [EPISODE])) == failures


# --- the processes -------------------------------------------------------------------------------------------


def test_a_child_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    async def start() -> None:
        child = Child("run", tmp_path)
        try:
            await child.start(["run", "--json", "--config", str(tmp_path / "absent.toml")])
        finally:
            await child.stop()

    with pytest.raises(ChildFailed, match=r"exit code 2(.|\n)*absent\.toml"):
        asyncio.run(start())


def test_a_folder_with_something_in_it_is_refused(hands, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert hands("demo", "--state", tmp_path).exit_code == 2


def _children_of(folder: Path) -> list[int]:
    """Return the processes that were started for a demo in `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in command:
                found.append(int(entry.name))
    return found


@pytest.mark.e2e
def test_the_demo_holds_every_expectation(tmp_path: Path, receipt_faults) -> None:
    folder = tmp_path / "session"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "hands", "demo", "--json", "--state", str(folder)],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    summary = json.loads(done.stdout.splitlines()[-1])
    assert [e for e in summary["expectations"] if not e["ok"]] == []
    assert (done.returncode, summary["ok"]) == (0, True)
    assert time.monotonic() - began < 60
    codes = Counter(document["expected"] for document in summary["documents"])
    assert summary["verdicts"] == dict(codes)
    assert {"SHORT_NOT_ALLOWED", "EXPIRED", "MALFORMED_JSON", "BRACKET_GEOMETRY", "SLIPPAGE", "DUPLICATE_INTENT",
            "SYMBOL_NOT_ALLOWED", "SYMBOL_BUSY", "DAILY_TRADES", "OK"} == set(codes)  # fmt: skip
    assert (folder / "hands.db").exists()
    receipts = [*folder.glob("intents/receipts/*.json"), *folder.glob("intents/refused/*.receipt.json")]
    assert len(receipts) == len(summary["documents"])
    assert [fault for path in receipts for fault in receipt_faults(json.loads(path.read_text()))] == []
    assert _children_of(folder) == []
    _is_told_again(folder, summary)


def _is_told_again(folder: Path, summary: dict[str, Any]) -> None:
    """What was recorded, replayed by its record alone: the same verdicts, orders, fills and results, to the last digit."""
    again = replay(folder, folder, fills="instant")
    assert again.latency_from == "record"
    assert again.verdicts_by_code == summary["verdicts"]
    with closing(open_ledger(folder / "hands.db")) as ledger:
        live = story(ledger)
    found = story(again.ledger)
    for name, rows in live.items():
        assert sorted(found[name], key=repr) == sorted(rows, key=repr), name
    assert len(live["trades"]) == len(summary["trades"]) == 4


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "session"
    demo = subprocess.Popen(
        [sys.executable, "-m", "hands", "demo", "--state", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    with demo.stdout:
        next(line for line in demo.stdout if "SHORT_NOT_ALLOWED" in line)
        demo.send_signal(number)
        demo.stdout.read()
    assert demo.wait(30) == 130
    assert _children_of(folder) == []
