"""What the guardian takes for one document: from the parsed intent to the approved order, and `decide` around it.

Owns the desk it is asked at: the engine's own state, brought there by the engine's own events. Sixteen equities and two
coins with a quote each; three trades are live (a share and a coin held, an entry working), forty touches wait, and
what was accepted within the last minute is remembered. May not start processes or touch a disk.

`long`, `coin` and `touch` are the whole way, `Case` → `judge` → `approve`; the denials are the same way up to the first
check, to one in the middle and to the last. `document` is `decide` alone, with the reading of the bytes, the ticket and
the ledger's rows, for documents that are accepted; each order is cancelled afterwards, so that the next finds its
symbol free. The processor's caches are as warm as a loop makes them: on the way to the wire they are not.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.percentiles import summary
from hands.core.case import Case
from hands.core.commands import SubmitEntry
from hands.core.engine import decide
from hands.core.events import (
    AccountReport,
    Asset,
    DocumentReceived,
    Link,
    OrderReport,
    SessionReport,
    VenueOrder,
)
from hands.core.intents import Intent, read_document
from hands.core.limits import read_limits
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.orders import ApprovedEntry
from hands.core.receipts import time_text
from hands.core.risk import approve, judge
from hands.core.state import State
from hands.core.units import CENT, NANO, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.vocab import AssetClass, OrderStatus, OrderType, Venue

NOW: Final = Ns(1_767_625_200 * NS_PER_S)
"""A Monday, half an hour after the open."""
EQUITY_USD: Final = Usd(1_000_000 * NANO)
COINS: Final = ("BTC/USD", "SOL/USD")
TOUCHES: Final = 40
BID, ASK = 149.98, 150.00
QUICK, FULL = 2_000, 20_000
WARM: Final = 200
"""Rounds before those that count: the interpreter adapts to what it runs."""


class Desk:
    """The engine's state and the way to ask it."""

    def __init__(self) -> None:
        text = (Path(__file__).parent / "config" / "risk_limits.toml").read_text("utf-8")
        limits = read_limits(text.replace("allow = [", f"allow = [{', '.join(map(json.dumps, COINS))},"))
        self.state = State(limits, Market(limits.allow), Venue.SIM)
        self._number = 0
        self.state.reconciled = True
        self.state.links = dict.fromkeys(Link, True)
        self.state.assets = {symbol: _asset(symbol) for symbol in limits.allow}
        self.state.day.equity = EQUITY_USD
        self.at(NOW)
        self.hold("SPY")
        self.hold("BTC/USD")
        self.enter("MSFT")
        for _ in range(TOUCHES):
            self.drop(self.document("IBM", entry="touch", take_profit=round(155 + self._number / 100, 2)))

    def at(self, now_ns: int) -> None:
        """Let it be `now_ns`: what the venue says is always fresh."""
        state = self.state
        state.now_ns = Ns(now_ns)
        state.account = AccountReport(
            ts_ns=Ns(now_ns), asked_ns=Ns(now_ns), account_number="bench", status="ACTIVE", equity=EQUITY_USD,
            cash=EQUITY_USD, buying_power=EQUITY_USD, non_marginable_buying_power=EQUITY_USD, crypto_status="ACTIVE",
        )  # fmt: skip
        state.session = SessionReport(
            ts_ns=Ns(now_ns), is_open=True, open_ns=Ns(now_ns - 1_800 * NS_PER_S),
            next_open_ns=Ns(now_ns + 86_400 * NS_PER_S), next_close_ns=Ns(now_ns + 18_000 * NS_PER_S),
        )  # fmt: skip
        rows = new_rows(len(state.market.symbols))
        rows["sym"], rows["kind"], rows["flags"] = range(len(rows)), RowKind.QUOTE, RowFlag.ELIGIBLE
        rows["price"], rows["price2"], rows["size"], rows["size2"] = BID, ASK, 100.0, 100.0
        rows["venue_ns"] = rows["recv_ns"] = now_ns
        state.market.consume(rows, 0, len(rows))

    def document(self, symbol: str, **changes: Any) -> bytes:
        """Return a document that passes, or that does not by its `changes`; each under a new id."""
        self._number += 1
        stop, target = (145, 165) if symbol in COINS else (148, 155)  # a coin's reward has its fees to bear
        members = {
            "intent_id": str(uuid.UUID(int=self._number)), "asset": symbol, "direction": "LONG", "trigger_price": 150,
            "stop_loss": stop, "take_profit": target, "confidence": 0.8, "strategy_ref": "bench", "ttl_seconds": 15,
            "timestamp": time_text(self.state.now_ns), "thesis": "a sentence or two, as agents write them " * 4,
        }  # fmt: skip
        return json.dumps(members | changes).encode()

    def drop(self, data: bytes) -> ApprovedEntry | None:
        """Decide a document; return the order that leaves, if one does."""
        event = DocumentReceived(
            ts_ns=self.state.now_ns,
            agent="default",
            name="x.json",
            data=data,
            file_event_ns=self.state.now_ns,
        )
        found = [command.entry for command in decide(self.state, event) if isinstance(command, SubmitEntry)]
        self.state.changed.clear()
        return found[0] if found else None

    def enter(self, symbol: str) -> ApprovedEntry:
        """Have an entry approved, and its order taken by the venue."""
        entry = self.drop(self.document(symbol))
        assert entry is not None, symbol
        self.report(entry, OrderStatus.NEW)
        return entry

    def hold(self, symbol: str) -> None:
        """Have an entry filled."""
        entry = self.enter(symbol)
        self.report(entry, OrderStatus.FILLED)

    def report(self, entry: ApprovedEntry, status: OrderStatus) -> None:
        filled = entry.qty if status is OrderStatus.FILLED else Qty(0)
        order = VenueOrder(
            order_id=f"venue-{entry.client_order_id}", client_order_id=entry.client_order_id, symbol=entry.symbol,
            side=entry.side, order_type=OrderType.LIMIT, order_class=entry.order_class, status=status,
            status_text=status, qty=entry.qty, filled_qty=filled, avg_price=entry.limit_price if filled else None,
        )  # fmt: skip
        decide(self.state, OrderReport(ts_ns=self.state.now_ns, event=status, order=order))
        self.state.changed.clear()

    # --- what is measured ----------------------------------------------------------------------------------

    def verdicts(self, count: int, data: bytes, code: str = "OK") -> dict[str, float]:
        """Return what one verdict takes, from the parsed intent on. It changes nothing, so the same one is asked."""
        state, intent = self.state, read_document(data)
        assert isinstance(intent, Intent)
        now, deadline, arming = state.now_ns, state.now_ns + intent.ttl_ns, intent.entry == "touch"
        clock, took = time.perf_counter_ns, []
        for _ in range(WARM + count):
            began = clock()
            case = Case(state, intent, "default", now, deadline, arming=arming)
            judgement = judge(case)
            if judgement.plan is not None:
                approve(case, judgement)
            took.append(clock() - began)
            assert judgement.code == code, judgement.denial
        return summary(took[WARM:])

    def documents(self, count: int) -> dict[str, float]:
        """Return what `decide` takes for a document that is accepted."""
        clock, took = time.perf_counter_ns, []
        for number in range(WARM + count):
            self.at(self.state.now_ns + 1_000)
            data = self.document("AAPL", take_profit=round(155 + number / 100, 2))
            event = DocumentReceived(
                ts_ns=self.state.now_ns,
                agent="default",
                name="x.json",
                data=data,
                file_event_ns=self.state.now_ns,
            )
            began = clock()
            commands = decide(self.state, event)
            took.append(clock() - began)
            entry = next(command.entry for command in commands if isinstance(command, SubmitEntry))
            self.state.changed.clear()
            self.report(entry, OrderStatus.CANCELED)
        return summary(took[WARM:])


def _asset(symbol: str) -> Asset:
    coin = symbol in COINS
    return Asset(
        symbol=symbol, asset_class=AssetClass.CRYPTO if coin else AssetClass.EQUITY, status="active", tradable=True,
        shortable=not coin, fractionable=True, lot=Qty(1 if coin else NANO),
        min_order_qty=Qty(nano("0.0001") if coin else NANO), price_increment=Price(CENT) if coin else None,
        easy_to_borrow=not coin,
    )  # fmt: skip


def measure(*, quick: bool = False) -> dict[str, dict[str, float]]:
    """Return n, p50, p99, p99.9 and the maximum in µs of each kind of verdict, and of `decide` for a document."""
    count = QUICK if quick else FULL
    Market.warm_up()
    desk = Desk()
    asked: dict[str, Callable[[], dict[str, float]]] = {
        "long": lambda: desk.verdicts(count, desk.document("AAPL")),
        "coin": lambda: desk.verdicts(count, desk.document("SOL/USD")),
        "touch": lambda: desk.verdicts(count, desk.document("AAPL", entry="touch", arm_seconds=600)),
        "denied_middle": lambda: desk.verdicts(
            count, desk.document("AAPL", trigger_price=160, take_profit=180), "PRICE_COLLAR"
        ),
        "denied_last": lambda: desk.verdicts(count, desk.document("AAPL", qty=0.5), "SIZE_TOO_SMALL"),
        "document": lambda: desk.documents(count // 4),
        "denied_first": lambda: _latched(desk).verdicts(count, desk.document("AAPL"), "AGENT_LATCHED"),
    }
    return {name: ask() for name, ask in asked.items()}


def _latched(desk: Desk) -> Desk:
    desk.state.agent_book("default").latched = True
    return desk
