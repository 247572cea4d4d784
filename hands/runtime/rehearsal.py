"""A rehearsal of the way in, so that the first real intent does not pay for cold code.

Owns a stage of its own: a `State` that nothing else sees, with a market, an account and a session made up for it.
On it the whole of `decide` is played for a made-up document, down to the bytes for the journal; nothing is sent,
written or remembered. The one idea: the interpreter specialises code that has run a few times, and pydantic, numba and
the JSON reader fill their caches on first use. (Repeating it every 10 ms for ever was measured too: it shortened the
decision but not measurably the way to the wire, so it is not done.)
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from hands.core.commands import Record
from hands.core.engine import decide
from hands.core.events import AccountReport, Asset, DocumentReceived, Link, SessionReport
from hands.core.limits import LimitsFile
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.receipts import time_text
from hands.core.state import State, encode
from hands.core.units import CENT, NANO, NS_PER_S, Ns, Price, Qty, Usd
from hands.core.vocab import AssetClass, Venue
from hands.journal.schema import encode_row

ROUNDS_BEFORE_READY = 60
STAGE_EQUITY = Usd(100_000 * NANO)
BID, ASK = 149.98, 150.00


def rehearse(limits: LimitsFile, clock: Callable[[], Ns]) -> None:
    """Play until the code is warm."""
    stage = Rehearsal(limits)
    for _ in range(ROUNDS_BEFORE_READY):
        stage.play(clock())


class Rehearsal:
    """Plays an equity's document and a coin's in turn; `play` takes about as long as a real decision."""

    def __init__(self, limits: LimitsFile) -> None:
        self._limits = limits
        equities = [symbol for symbol in limits.allow if "/" not in symbol]
        coins = [symbol for symbol in limits.allow if "/" in symbol]
        self._symbols = (*equities[:1], *coins[:1])  # one of each kind is enough, and small
        self._market = Market(self._symbols)
        self._rows = new_rows(1)
        self._next = 0
        self._assets = {symbol: _asset(symbol) for symbol in self._symbols}

    def play(self, now_ns: int) -> None:
        """Decide one made-up document at `now_ns` and its cancellation, and forget both."""
        if not self._symbols:
            return
        symbol = self._symbols[self._next % len(self._symbols)]
        self._next += 1
        state = self._stage(symbol, now_ns)
        for data in (_document(symbol, now_ns, self._next), _cancel(self._next)):
            event = DocumentReceived(
                ts_ns=Ns(now_ns), agent="default", name="rehearsal.json", data=data, file_event_ns=Ns(now_ns)
            )
            for command in decide(state, event):
                if isinstance(command, Record):
                    encode_row(command.row)
            for entity in state.changed.values():
                encode(entity)
            state.changed.clear()
            encode(event)

    def _stage(self, symbol: str, now_ns: int) -> State:
        """Return a fresh state in which a sound document passes, as far as the limits let one pass."""
        row = self._rows[0]
        row["sym"], row["kind"], row["flags"] = self._market.index[symbol], RowKind.QUOTE, RowFlag.ELIGIBLE
        row["price"], row["size"], row["price2"], row["size2"] = BID, 100.0, ASK, 100.0
        row["venue_ns"] = row["recv_ns"] = now_ns
        self._market.consume(self._rows, 0, 1)
        state = State(self._limits, self._market, Venue.SIM)
        state.now_ns = Ns(now_ns)
        state.account = AccountReport(
            ts_ns=Ns(now_ns),
            asked_ns=Ns(now_ns),
            account_number="rehearsal",
            status="ACTIVE",
            equity=STAGE_EQUITY,
            cash=STAGE_EQUITY,
            buying_power=STAGE_EQUITY,
            non_marginable_buying_power=STAGE_EQUITY,
            crypto_status="ACTIVE",
        )
        state.day.equity = STAGE_EQUITY
        state.assets = self._assets
        state.session = SessionReport(
            ts_ns=Ns(now_ns),
            is_open=True,
            next_open_ns=Ns(now_ns + 86_400 * NS_PER_S),
            next_close_ns=Ns(now_ns + 7 * 3_600 * NS_PER_S),
            open_ns=Ns(now_ns - 7 * 3_600 * NS_PER_S),
        )
        state.links = dict.fromkeys(Link, True)
        state.reconciled = True
        return state


def _asset(symbol: str) -> Asset:
    crypto = "/" in symbol
    return Asset(
        symbol=symbol,
        asset_class=AssetClass.CRYPTO if crypto else AssetClass.EQUITY,
        status="active",
        tradable=True,
        shortable=not crypto,
        fractionable=True,
        lot=Qty(1 if crypto else NANO),
        min_order_qty=Qty(1 if crypto else NANO),
        price_increment=Price(CENT) if crypto else None,
    )


def _cancel(number: int) -> bytes:
    """Return a document that takes back the `number`th."""
    members = {"kind": "cancel", "intent_id": str(uuid.UUID(int=number + (1 << 100)))}
    return json.dumps(members | {"target_id": str(uuid.UUID(int=number))}).encode()


def _document(symbol: str, now_ns: int, number: int) -> bytes:
    return json.dumps(
        {
            "intent_id": str(uuid.UUID(int=number)),
            "asset": symbol,
            "direction": "LONG",
            "trigger_price": ASK,
            "stop_loss": 145.5,
            "take_profit": 165.0,
            "confidence": 1.0,
            "strategy_ref": "rehearsal",
            "timestamp": time_text(now_ns),
            "ttl_seconds": 5,
        }
    ).encode()
