"""The judge: at the end of a run, the exchange's books against everything the engine wrote down.

Owns the verdict. May not know how the run went: it has the two sides' records, the documents that were dropped, and what
disturbed the engine. The one idea: nothing is compared with what should have happened, only with what did.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hands.core.orders import parse_client_order_id
from hands.core.units import NANO, NS_PER_MS, mul_floor
from hands.core.vocab import Leg, Side
from hands.sim.venue.orders import Fill, Order
from tests.rig.engine import Engine
from tests.rig.exchange import Exchange, Naked
from tests.rig.proof import record_wrongs
from tests.rig.witness import NAKED_SLACK_NS, Disturbance, Witness, sold_too_much, unexplained_ns

CENT = NANO // 100
DUST = 11 * NANO
"""What a coin position below this is worth cannot be protected: the venue's minimum and a tenth."""
OVER = ("CLOSED", "EXPIRED", "CANCELED", "VENUE_REJECTED", "REJECTED", "REFUSED", "DONE")


@dataclass(slots=True)
class Episode:
    """One naked episode, in nanoseconds: how long, of which no process was there, of which nothing explains."""

    symbol: str
    kind: str
    total_ns: int
    away_ns: int
    unexplained_ns: int


@dataclass(slots=True)
class Verdict:
    """What was found; `wrongs` is empty if all is well."""

    wrongs: list[str] = field(default_factory=list)
    trades: int = 0
    documents: int = 0
    naked: list[Episode] = field(default_factory=list)


def judge(
    exchange: Exchange,
    engine: Engine,
    witness: Witness,
    documents: dict[str, bytes],
    *,
    unprotected_max_ms: int = 2000,
    must_be_flat: bool = True,
) -> Verdict:
    """Return the verdict of a run whose engine has stopped."""
    verdict = Verdict(documents=len(documents))
    wrongs = verdict.wrongs
    wrongs += witness.wrongs
    wrongs += sold_too_much(exchange)
    wrongs += _sent_twice(exchange)
    wrongs += engine.loop.bugs
    wrongs += record_wrongs(engine.state) if (engine.state / "journal.db").exists() else []
    trades = by_intent(exchange)
    verdict.trades = len(trades)
    if not (engine.state / "hands.db").exists():
        wrongs.append("there is no ledger")
        return verdict
    with closing(sqlite3.connect(f"{(engine.state / 'hands.db').as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        wrongs += _executions(db, trades)
        wrongs += _orders(db, exchange)
        wrongs += _episodes(db, exchange, trades)
        if db.execute("SELECT count(*) FROM set_aside").fetchone()[0]:
            wrongs.append("rows were set aside")
    wrongs += _papers(engine, documents)
    wrongs += _end(exchange, must_be_flat=must_be_flat)
    verdict.naked = naked(exchange, engine, witness)
    bound = unprotected_max_ms * NS_PER_MS + NAKED_SLACK_NS
    wrongs += [
        f"{each.symbol}: naked for {each.total_ns / 1e9:.2f} s ({each.kind}), {each.unexplained_ns / 1e9:.2f} s of it"
        f" unexplained: more than {bound / 1e9:g} s"
        for each in verdict.naked
        if each.unexplained_ns > bound
    ]
    return verdict


def _sent_twice(exchange: Exchange) -> list[str]:
    """Return the entries that were asked for more than once, taken or not."""
    asked: Counter[str] = Counter()
    for record in exchange.floor.requests:
        if (record.method, record.path) == ("POST", "/v2/orders") and isinstance(record.body, dict):
            named = parse_client_order_id(str(record.body.get("client_order_id")))
            if named is not None and named[1] is Leg.ENTRY:
                asked[named[0]] += 1
    return [f"{intent_id}: its entry was sent {n} times" for intent_id, n in asked.items() if n > 1]


# --- trades --------------------------------------------------------------------------------------------------


def intent_of(order: Order) -> tuple[str, Leg] | None:
    """Return the intent an order belongs to, legs by their group, and whether it is the entry."""
    parent = order.group.parent if order.group is not None else order
    named = parse_client_order_id(order.client_order_id) or parse_client_order_id(parent.client_order_id)
    if named is None:
        return None
    is_entry = named[1] is Leg.ENTRY and order.side is Side.BUY
    return named[0], Leg.ENTRY if is_entry else Leg.EXIT


def by_intent(exchange: Exchange) -> dict[str, list[tuple[Leg, Fill]]]:
    """Return every intent's fills."""
    whose = {order.order_id: intent_of(order) for order in exchange.orders}
    found: dict[str, list[tuple[Leg, Fill]]] = {}
    for fill in exchange.floor.exchange.blotter.fills:
        named = whose[fill.order_id]
        if named is not None:
            found.setdefault(named[0], []).append((named[1], fill))
    return found


@dataclass(slots=True)
class Result:
    """What a trade came to by the exchange's books, nano-units."""

    bought: int = 0
    received: int = 0
    paid: int = 0
    sold: int = 0
    proceeds: int = 0

    @property
    def left(self) -> int:
        return self.received - self.sold

    def pnl(self, mark: int) -> int:
        """Return it net of fees; what is too small to be sold counts at `mark`."""
        return self.proceeds + mul_floor(mark, self.left) - self.paid


def result_of(fills: list[tuple[Leg, Fill]]) -> Result:
    """Add up a trade's fills: what was paid, what came in, what was sold."""
    result = Result()
    for leg, fill in fills:
        value = fill.price * fill.qty // NANO
        if leg is Leg.ENTRY:
            result.bought += fill.qty
            result.received += fill.qty - (fill.fee if "/" in fill.symbol else 0)
            result.paid += value
        else:
            result.sold += fill.qty
            result.proceeds += value - fill.fee
    return result


def _executions(db: sqlite3.Connection, trades: dict[str, list[tuple[Leg, Fill]]]) -> list[str]:
    truth = {fill.execution_id: fill for fills in trades.values() for _, fill in fills}
    wrongs = []
    rows = db.execute(
        "SELECT execution_id, qty_nano AS qty, price_nano AS price, symbol FROM ledger_fills"
    ).fetchall()
    for row in rows:
        fill = truth.get(row["execution_id"])
        if fill is None:
            wrongs.append(f"fills: {row['execution_id']} never happened")
        elif (fill.qty, fill.price, fill.symbol) != (row["qty"], row["price"], row["symbol"]):
            wrongs.append(f"fills: {row['execution_id']} is {tuple(row)}, was {fill.qty} at {fill.price}")
    lost = truth.keys() - {row["execution_id"] for row in rows}
    wrongs += [
        f"fills: {fill.execution_id} ({fill.side} {fill.qty / NANO:g} {fill.symbol}) has no row"
        for fill in (truth[execution_id] for execution_id in sorted(lost))
    ]
    return wrongs


def _orders(db: sqlite3.Connection, exchange: Exchange) -> list[str]:
    rows = {row["client_order_id"]: row for row in db.execute("SELECT * FROM ledger_orders")}
    wrongs = []
    for order in exchange.orders:
        row = rows.get(order.client_order_id)
        if row is None:
            if order.filled_qty and intent_of(order) is not None:
                wrongs.append(f"orders: {order.client_order_id} filled and has no row")
            continue
        if row["filled_qty_nano"] != order.filled_qty:
            wrongs.append(
                f"orders: {order.client_order_id} filled {order.filled_qty / NANO:g}, the row says {row['filled_qty_nano'] / NANO:g}"
            )
        if (
            order.filled_qty
            and abs((row["avg_price_nano"] or 0) - (order.filled_avg_price or 0)) > NANO // 10_000
        ):
            wrongs.append(
                f"orders: {order.client_order_id} filled at {order.filled_avg_price}, the row says {row['avg_price_nano']}"
            )
    return wrongs


def _episodes(
    db: sqlite3.Connection, exchange: Exchange, trades: dict[str, list[tuple[Leg, Fill]]]
) -> list[str]:
    rows = {row["intent_id"]: row for row in db.execute("SELECT * FROM ledger_trade_episodes")}
    wrongs = [f"trade_episodes: {intent_id} never traded" for intent_id in rows if intent_id not in trades]
    for intent_id, fills in trades.items():
        result, symbol = result_of(fills), fills[0][1].symbol
        row = rows.get(intent_id)
        is_over = mul_floor(exchange.floor.exchange.mark(symbol), result.left) < DUST
        if row is None:
            if is_over:
                wrongs.append(f"trade_episodes: {intent_id} ({symbol}) is over and has no row")
            continue
        if not is_over:
            wrongs.append(
                f"trade_episodes: {intent_id} ({symbol}) has a row, and {result.left / NANO:g} are left"
            )
            continue
        if row["qty_nano"] != result.bought:
            wrongs.append(
                f"trade_episodes: {intent_id} bought {result.bought / NANO:g}, the row says {row['qty_nano'] / NANO:g}"
            )
        slack = CENT
        if result.left:  # dust, booked at the mark of its moment
            slack += mul_floor(exchange.floor.exchange.mark(symbol), result.left)
        made = result.pnl(row["exit_price_nano"] or 0)
        if abs(made - row["actual_pnl_nano"]) > slack:
            wrongs.append(
                f"trade_episodes: {intent_id} ({symbol}) made {made / NANO:.4f}, the row says {row['actual_pnl_nano'] / NANO:.4f}"
            )
    return wrongs


# --- papers --------------------------------------------------------------------------------------------------


def _papers(engine: Engine, documents: dict[str, bytes]) -> list[str]:
    folder = engine.intents
    wrongs = []
    archived: dict[str, list[Path]] = {}
    for place in (folder / "archive").glob("*/*.json"):
        archived.setdefault(place.stem, []).append(place)
    for intent_id, data in documents.items():
        try:
            receipt = json.loads((folder / "receipts" / f"{intent_id}.json").read_bytes())
        except FileNotFoundError:
            wrongs.append(f"{intent_id}: no receipt")
            continue
        if receipt["state"] not in (*OVER, "ARMED", "OPEN"):
            wrongs.append(f"{intent_id}: stuck in {receipt['state']}: {receipt['message']}")
        copies = archived.get(intent_id, [])
        if len(copies) != 1:
            wrongs.append(f"{intent_id}: {len(copies)} entries in the archive")
        elif copies[0].read_bytes() != data:
            wrongs.append(f"{intent_id}: another document is in the archive")
    wrongs += [f"left in the drop folder: {place.name}" for place in folder.glob("[!.]*.json")]
    wrongs += [f"archived and never dropped: {name}" for name in archived if name not in documents]
    return wrongs


def _end(exchange: Exchange, *, must_be_flat: bool) -> list[str]:
    wrongs = []
    account = exchange.floor.exchange.account
    for symbol, position in account.positions.items():
        value = position.market_value(exchange.floor.exchange.mark(symbol))
        if abs(value) < DUST:
            continue
        if must_be_flat:
            wrongs.append(f"at the end {position.qty / NANO:g} {symbol} are held")
        elif exchange.exposure.at(exchange.floor.exchange.now_ns())[symbol]["naked_since_ns"] is not None:
            wrongs.append(f"at the end {position.qty / NANO:g} {symbol} are held without a stop")
    if must_be_flat:
        live = [o.client_order_id for o in exchange.orders if o.is_live and o.symbol not in account.positions]
        wrongs += [f"at the end {name} is live, and nothing is held" for name in live]
    return wrongs


# --- naked time ----------------------------------------------------------------------------------------------


def naked(exchange: Exchange, engine: Engine, witness: Witness) -> list[Episode]:
    """Return every naked episode with what explains it."""
    witness.note_stream_faults()
    offset = exchange.now_ns - exchange.loop.now_ns
    end_ns = exchange.loop.now_ns
    away = [
        Disturbance(from_ns or 0, (to_ns or end_ns) + NS_PER_MS * 1000, "no process")
        for from_ns, to_ns in engine.away
    ]
    halts = [
        Disturbance(since - offset, (until or exchange.now_ns) - offset + 1_000_000_000, f"{symbol} halted")
        for symbol, since, until in exchange.halts
    ]
    others = sorted([*away, *witness.disturbances, *halts], key=lambda each: each.from_ns)
    return [_explained(each, offset, end_ns, away, others) for each in exchange.exposure.episodes]


def _explained(
    episode: Naked, offset: int, end_ns: int, away: list[Disturbance], others: list[Disturbance]
) -> Episode:
    from_ns = episode.since_ns - offset
    to_ns = end_ns if episode.until_ns is None else episode.until_ns - offset
    kind = "engine-held" if "/" in episode.symbol else "native"
    without_away = unexplained_ns(from_ns, to_ns, away)
    return Episode(
        episode.symbol,
        kind,
        to_ns - from_ns,
        to_ns - from_ns - without_away,
        unexplained_ns(from_ns, to_ns, others),
    )


def digest(exchange: Exchange, engine: Engine) -> str:
    """Return one hash of every request, every event and every fill: the same seed has the same."""
    found = hashlib.sha256()
    for record in exchange.floor.requests:
        found.update(
            repr((record.method, record.path, record.body, record.received_ns, record.status)).encode()
        )
    for fill in exchange.floor.exchange.blotter.fills:
        found.update(repr((fill.execution_id, fill.qty, fill.price, fill.t_ns)).encode())
    with closing(sqlite3.connect(f"{(engine.state / 'journal.db').as_uri()}?mode=ro", uri=True)) as db:
        rows: Any = db.execute("SELECT seq, ts_ns, kind, payload FROM events ORDER BY seq")
        for row in rows:
            found.update(repr(row).encode())
        rows = db.execute("SELECT entity, key, doc FROM state ORDER BY entity, key")
        for row in rows:
            found.update(repr(row).encode())
    return found.hexdigest()
