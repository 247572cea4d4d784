"""What came of a replay: verdicts, orders, fills, trades, equity and counters, as values.

Owns their types and their reading from the replay's ledger. May not compute anything anew: what the ledger says is what
a live session's would. Prices, quantities and dollars are exact decimals (`Decimal`), times Unix nanoseconds, what is not
known is None.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

NANO = Decimal(10**9)


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that could not be read, or a duplicate; no id of it is used up."""

    at_ns: int
    agent: str
    name: str
    intent_id: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said to one document. `state` is where its business stood at the end."""

    intent_id: str | None
    agent: str
    kind: str
    symbol: str | None
    direction: str | None
    strategy_ref: str | None
    verdict: str
    code: str
    state: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order of ours as the ledger has it last."""

    client_order_id: str
    intent_id: str
    leg: str
    symbol: str
    side: str
    order_type: str
    qty: Decimal
    filled_qty: Decimal
    avg_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class FillRow:
    """One execution; `fee` in dollars, estimated."""

    execution_id: str
    client_order_id: str
    intent_id: str
    leg: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade from its first fill until flat; `pnl` in dollars, net of fees, `pnl_pct` of the entry's notional."""

    intent_id: str
    agent: str
    symbol: str
    direction: str
    strategy_ref: str | None
    qty: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None
    exit_reason: str
    pnl: Decimal
    pnl_pct: Decimal | None
    fees: Decimal
    opened_ns: int | None
    closed_ns: int | None


@dataclass(frozen=True, slots=True)
class Equity:
    """What the account was worth, in dollars, open positions at the market."""

    at_ns: int
    equity: Decimal


@dataclass(frozen=True, slots=True)
class OpenPosition:
    """What was still held at the end; `pnl` is what that alone would have come to at the market, fees left out."""

    symbol: str
    qty: Decimal
    avg_price: Decimal
    mark: Decimal
    pnl: Decimal


@dataclass(frozen=True)
class Replay:
    """A market played from beginning to end. `digest` is the same for the same inputs, wherever and however they are
    cut into arrays: a SHA-256 of all that was decided and of all that it left behind.

    `latency_ms` each way, by `latency_from`: "given", "assumed", or "record" (then it is the median of what is on record).
    `left_out`: what a record knows and a replay cannot take over, in words.
    `unquoted` are the symbols of which the market had no quote: nothing is entered there (NO_MARKET_DATA).
    `untraded` are shares of which it had no trade: the exchange elects no stop of theirs.
    `ledger` has the views of `hands.db` (docs/architecture.md) and is open; `close` it when it is not needed any more.
    """

    symbols: tuple[str, ...]
    session: str
    fills_model: str
    latency_ms: float
    latency_from: str
    left_out: tuple[str, ...]
    seed: int
    limits_sha256: str
    rows: int
    from_ns: int
    to_ns: int
    opening_equity: Decimal
    equity: tuple[Equity, ...]
    open_positions: tuple[OpenPosition, ...]
    refused: tuple[Refused, ...]
    unquoted: tuple[str, ...]
    untraded: tuple[str, ...]
    counters: dict[str, int]
    wall_s: float
    digest: str
    ledger: sqlite3.Connection = field(repr=False)

    def close(self) -> None:
        """Let the ledger go; what has not been read yet cannot be read any more."""
        self.ledger.close()

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.wall_s if self.wall_s > 0 else 0.0

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every document's, in the order in which they were given."""
        judged = [
            Verdict(
                intent_id=row["intent_id"],
                agent=row["agent"],
                kind=row["kind"],
                symbol=row["symbol"],
                direction=row["direction"],
                strategy_ref=row["strategy_ref"],
                verdict=row["verdict"],
                code=row["code"],
                state=row["state"],
                at_ns=row["decided_ns"],
            )
            for row in self.ledger.execute("SELECT * FROM ledger_intents ORDER BY number")
        ]
        judged += [
            Verdict(
                intent_id=each.intent_id,
                agent=each.agent,
                kind="",
                symbol=None,
                direction=None,
                strategy_ref=None,
                verdict="REFUSED",
                code=each.code,
                state="REFUSED",
                at_ns=each.at_ns,
            )
            for each in self.refused
        ]
        return tuple(sorted(judged, key=lambda verdict: verdict.at_ns))

    @property
    def verdicts_by_code(self) -> dict[str, int]:
        """How many documents got each code, the most frequent first."""
        return dict(Counter(verdict.code for verdict in self.verdicts).most_common())

    @cached_property
    def orders(self) -> tuple[OrderRow, ...]:
        return tuple(
            OrderRow(
                client_order_id=row["client_order_id"],
                intent_id=row["intent_id"],
                leg=row["leg"],
                symbol=row["symbol"],
                side=row["side"],
                order_type=row["order_type"],
                qty=exact(row["qty_nano"]),
                filled_qty=exact(row["filled_qty_nano"]),
                avg_price=known(row["avg_price_nano"]),
                limit_price=known(row["limit_price_nano"]),
                stop_price=known(row["stop_price_nano"]),
                status=row["status"],
                created_ns=row["created_ns"],
            )
            for row in self.ledger.execute("SELECT * FROM ledger_orders ORDER BY number")
        )

    @cached_property
    def fills(self) -> tuple[FillRow, ...]:
        return tuple(
            FillRow(
                execution_id=row["execution_id"],
                client_order_id=row["client_order_id"],
                intent_id=row["intent_id"],
                leg=row["leg"],
                symbol=row["symbol"],
                side=row["side"],
                qty=exact(row["qty_nano"]),
                price=exact(row["price_nano"]),
                fee=exact(row["fee_nano"]),
                at_ns=row["at_ns"],
            )
            for row in self.ledger.execute("SELECT * FROM ledger_fills ORDER BY number")
        )

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """The trades that are over, in the order in which they ended."""
        return tuple(
            Trade(
                intent_id=row["intent_id"],
                agent=row["agent"],
                symbol=row["asset"],
                direction=row["direction"],
                strategy_ref=row["strategy_ref"],
                qty=exact(row["qty_nano"]),
                entry_price=known(row["entry_price_nano"]),
                exit_price=known(row["exit_price_nano"]),
                exit_reason=row["exit_reason"],
                pnl=exact(row["actual_pnl_nano"]),
                pnl_pct=known(row["pnl_pct_nano"]),
                fees=exact(row["fees_nano"]),
                opened_ns=row["opened_at_ns"],
                closed_ns=row["closed_at_ns"],
            )
            for row in self.ledger.execute("SELECT * FROM ledger_trade_episodes ORDER BY number")
        )

    @property
    def realised_pnl(self) -> Decimal:
        """What the trades that are over have come to, in dollars, net of fees."""
        return sum((trade.pnl for trade in self.trades), Decimal(0))

    @property
    def open_pnl(self) -> Decimal:
        """What trades that are not over have come to by the end, in dollars: what was sold of them already, what is held at
        the market, and fees. So equity is what the account began with, `realised_pnl` and this."""
        return self.equity[-1].equity - self.opening_equity - self.realised_pnl


def exact(nano: float) -> Decimal:
    """Return nano-units of the ledger as a decimal."""
    return Decimal(nano) / NANO


def known(nano: Any) -> Decimal | None:
    """The same, None staying None."""
    return None if nano is None else Decimal(nano) / NANO
