"""A ledger made by hand, in memory: exactly the views of `hands.db`, filled through the schema's own statements.

Owns the making of trades, refusals and happenings for tests of the report, one by one or five hundred at a time with the
market around them. The one idea: what a test did not say is what the engine would have written.
"""

from __future__ import annotations

import json
import math
import random
import sqlite3
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hands.core.units import NANO, decimal_text
from hands.journal.schema import GATES, SCHEMA_VERSION, TABLES, statement
from hands.replay.prices import TickPrices

T0 = 1_767_623_400 * NANO
"""Monday, 5 January 2026, 09:30 in New York."""

MINUTE, HOUR, DAY = 60 * NANO, 3_600 * NANO, 86_400 * NANO
MS = 1_000_000


def nano(value: float) -> int:
    return round(value * NANO)


def empty_ledger() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for table in TABLES.values():
        for ddl in table.ddl():
            db.execute(ddl)
    db.execute(GATES)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return db


@dataclass
class Book:
    """Writes what happened into a ledger. Prices and dollars as floats, times in ns."""

    db: sqlite3.Connection = field(default_factory=empty_ledger)
    count: int = 0

    def put(self, view: str, **row: Any) -> None:
        self.db.execute(*statement(view, row))

    def intent_id(self) -> str:
        self.count += 1
        return str(uuid.UUID(int=(self.count * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128, version=4))

    def trade(
        self,
        opened_ns: int,
        closed_ns: int | None,
        *,
        symbol: str = "AAPL",
        is_long: bool = True,
        qty: float = 10.0,
        entry: float = 100.0,
        exit: float | None = 101.0,  # noqa: A002
        stop: float = 98.0,
        target: float = 104.0,
        reason: str = "TP",
        agent: str = "default",
        strategy: str | None = "momentum/v1",
        thesis: str | None = "Because it goes up.",
        trigger: float | None = None,
        risk: float | None = None,
        fees: float | None = None,
        stop_after_ns: int = 0,
        moved: tuple[tuple[int, float], ...] = (),
        wire_ns: int = 900_000,
        touch: bool = False,
        episode: bool = True,
    ) -> str:
        """Write a trade: intent, receipt, orders, fills and, where it ended, its episode; return its id.

        Equities carry a bracket whose stop acts from the fill on; of coins a stop rests `stop_after_ns` after the fill.
        """
        intent_id = self.intent_id()
        sign = 1 if is_long else -1
        coins = "/" in symbol
        trigger = entry if trigger is None else trigger
        risk = abs(entry - stop) * qty if risk is None else risk
        entry_fee = entry * qty * 0.0025 if coins else 0.0
        held = qty * 0.9975 if coins else qty
        exit_fee = (exit or 0) * held * 0.0025 if coins else 0.0
        fees = entry_fee + exit_fee if fees is None else fees
        entry_id = f"hands-{intent_id}-entry-1"
        common = {"intent_id": intent_id, "symbol": symbol}
        way, back = ("buy", "sell") if is_long else ("sell", "buy")
        self.put(
            "orders", client_order_id=entry_id, order_id=str(uuid.uuid4()), leg="entry", side=way, order_type="limit",
            order_class="simple" if coins else "bracket", qty=nano(qty), filled_qty=nano(qty), avg_price=nano(entry),
            limit_price=nano(trigger * (1 + sign * 0.001)), status="filled", created_ns=opened_ns - 2 * MS,
            sent_ns=opened_ns - MS, acked_ns=opened_ns, updated_ns=opened_ns, **common,
        )  # fmt: skip
        self.put(
            "fills", execution_id=str(uuid.uuid4()), client_order_id=entry_id, leg="entry", side=way, qty=nano(qty),
            price=nano(entry), fee=nano(entry_fee), at_ns=opened_ns, **common,
        )  # fmt: skip
        stops = [(opened_ns, stop), *moved]
        for number, (at_ns, level) in enumerate(stops):
            is_last = number + 1 == len(stops)
            ends_ns = (closed_ns or 0) if is_last else stops[number + 1][0]
            filled = is_last and reason == "SL" and closed_ns is not None
            status = "filled" if filled else "canceled" if is_last and closed_ns else "replaced"
            status = status if closed_ns or not is_last else "new" if coins else "held"
            self.put(
                "orders", client_order_id=f"stop-{number}-{intent_id}", leg="sl", side=back,
                order_type="stop_limit" if coins else "stop", order_class="simple" if coins else "bracket", qty=nano(held),
                filled_qty=nano(held) if filled else 0, stop_price=nano(level), status=status, created_ns=at_ns,
                sent_ns=opened_ns - MS if number == 0 and not coins else at_ns, acked_ns=at_ns + stop_after_ns,
                updated_ns=ends_ns or at_ns, **common,
            )  # fmt: skip
        if closed_ns is not None and exit is not None:
            leg = {"TP": "exit" if coins else "tp", "SL": "sl"}.get(reason, "exit")
            sold_id = f"stop-{len(stops) - 1}-{intent_id}" if reason == "SL" else f"hands-{intent_id}-exit-1"
            if reason != "SL":
                self.put(
                    "orders", client_order_id=sold_id, leg=leg, side=back, order_type="limit", order_class="simple",
                    qty=nano(held), filled_qty=nano(held), limit_price=nano(target), status="filled",
                    created_ns=closed_ns - MS, sent_ns=closed_ns - MS, acked_ns=closed_ns, updated_ns=closed_ns, **common,
                )  # fmt: skip
            self.put(
                "fills", execution_id=str(uuid.uuid4()), client_order_id=sold_id, leg=leg, side=back, qty=nano(held),
                price=nano(exit), fee=nano(exit_fee), at_ns=closed_ns, **common,
            )  # fmt: skip
        file_ns = opened_ns - 2 * MS if not touch else opened_ns - HOUR
        stamps = {
            "file_event": file_ns, "decided": opened_ns - 2 * MS + wire_ns // 3, "journaled": opened_ns - 2 * MS + wire_ns // 2,
            "sent": opened_ns - 2 * MS + wire_ns, "acked": opened_ns, "filled": opened_ns,
        }  # fmt: skip
        document = {"intent_id": intent_id, "thesis": thesis} | ({"entry": "touch"} if touch else {})
        receipt = {
            "venue": "sim", "stamps_ns": stamps,
            "order": {
                "limit_price": decimal_text(nano(trigger * (1 + sign * 0.001))), "stop_loss": decimal_text(nano(stop)),
                "take_profit": decimal_text(nano(target)), "risk_usd": f"{risk:.2f}", "qty": decimal_text(nano(qty)),
            },
        }  # fmt: skip
        self.put(
            "intents", intent_id=intent_id, agent=agent, kind="intent", symbol=symbol,
            direction="LONG" if is_long else "SHORT", verdict="ACCEPTED", code="OK",
            state="CLOSED" if closed_ns else "OPEN", strategy_ref=strategy, confidence=nano(0.7), trigger_price=nano(trigger),
            stop_loss=nano(stop), take_profit=nano(target), received_ns=file_ns, decided_ns=opened_ns - 2 * MS,
            sent_ns=opened_ns - MS, updated_ns=closed_ns or opened_ns,
            document=json.dumps(document), receipt=json.dumps(receipt),
        )  # fmt: skip
        if closed_ns is not None and episode:
            pnl = None if exit is None else sign * (exit * held - entry * qty) - (exit_fee if coins else fees)
            self.put(
                "trade_episodes", id=intent_id, intent_id=intent_id, asset=symbol, agent=agent,
                direction="LONG" if is_long else "SHORT", qty=nano(qty), entry_price=nano(entry),
                exit_price=None if exit is None else nano(exit), actual_pnl=None if pnl is None else nano(pnl),
                pnl_pct=None if pnl is None else nano(pnl / (entry * qty)), agent_thesis=thesis, strategy_ref=strategy,
                confidence_score=nano(0.7), exit_reason=reason, expected_pnl=nano(sign * (target - trigger) * qty),
                opened_at=opened_ns, closed_at=closed_ns, fees=nano(fees), fees_estimated=int(coins),
                latency_ns=wire_ns, slippage=nano(sign * (entry - trigger)),
            )  # fmt: skip
        return intent_id

    def refusal(
        self,
        at_ns: int,
        code: str = "SLIPPAGE",
        check: str = "slippage",
        *,
        agent: str = "default",
        equity: str | None = "100000",
        r: float | None = None,
        usd: float | None = None,
        result: str | None = None,
    ) -> str:
        """Write a refused document, with what it would have come to where `result` says."""
        intent_id = self.intent_id()
        self.put(
            "intents", intent_id=intent_id, agent=agent, kind="intent", symbol="AAPL", direction="LONG",
            verdict="REJECTED", code=code, state="REJECTED", received_ns=at_ns, decided_ns=at_ns, updated_ns=at_ns,
        )  # fmt: skip
        detail = {"check": check, "scene": {"day": "2026-01-05", "equity": equity}}
        self.put("rejections", intent_id=intent_id, agent=agent, code=code, detail=detail, at_ns=at_ns)
        if result is not None:
            self.put(
                "hindsight", intent_id=intent_id, result=result, r=None if r is None else nano(r),
                usd=None if usd is None else nano(usd), noted_ns=at_ns + DAY,
            )  # fmt: skip
        return intent_id


CODES = (
    ("SLIPPAGE", "slippage"), ("SPREAD_TOO_WIDE", "spread"), ("STALE_MARKET_DATA", "quote_age"), ("SYMBOL_BUSY", "symbol_busy"),
    ("CONFIDENCE_TOO_LOW", "confidence"), ("REWARD_RISK_TOO_LOW", "reward_risk"), ("EXPIRED", "ttl"), ("DAILY_TRADES", "daily_trades"),
)  # fmt: skip
SYMBOLS = {"AAPL": 190.0, "SPY": 480.0, "BTC/USD": 64_000.0, "SOL/USD": 150.0, "DOGE/USD": 0.1234}
HOSTILE = (
    '</blockquote></script><script>document.title="owned"</script>',
    '"><img src=https://example.invalid/x onerror=alert(1)>',
    "\u202eevil.txt\u202c and \u0627\u0644\u0633\u0639\u0631 \u0633\u064a\u0631\u062a\u0641\u0639 \u05e9\u05dc\u05d5\u05dd",
    "\U0001f680\U0001f680 to the moon \U0001f468\u200d\U0001f469\u200d\U0001f467 \x1b[31mred\x07",
    "A very long thesis. " * 3_200,
    "javascript:alert(1) ' onmouseover='alert(2) <!-- --> ]]> &amp; {{7*7}}",
)


def big_ledger(trades: int = 500, seed: int = 7) -> tuple[sqlite3.Connection, TickPrices]:
    """Return a ledger of `trades` trades over some months and the market around them; some of its texts are hostile."""
    chance = random.Random(seed)
    book = Book()
    ticks: dict[str, list[tuple[int, float]]] = {symbol: [] for symbol in SYMBOLS}
    began_ns = T0
    free_ns = dict.fromkeys(SYMBOLS, T0)
    for number in range(trades):
        began_ns += round(chance.expovariate(1 / 3.2) * HOUR) + MINUTE
        symbol = chance.choice(list(SYMBOLS))
        at_ns = began_ns = max(began_ns, free_ns[symbol])
        entry = SYMBOLS[symbol] * math.exp(chance.gauss(0, 0.01))
        is_long = chance.random() < 0.7 or "/" in symbol
        sign = 1 if is_long else -1
        unit = entry * chance.uniform(0.004, 0.02)
        stop, target = entry - sign * unit, entry + sign * unit * chance.uniform(1.2, 3)
        held_ns = round(chance.lognormvariate(3.2, 1.1) * MINUTE)
        free_ns[symbol] = at_ns + 2 * held_ns + 5 * MINUTE
        won = chance.random() < 0.46
        reason = chance.choices(("plan", "TIME", "MANUAL"), (0.8, 0.15, 0.05))[0]
        if reason == "plan":
            reason, out = (
                ("TP", target + sign * unit * 0.01)
                if won
                else ("SL", stop - sign * unit * abs(chance.gauss(0, 0.04)))
            )
        else:
            out = entry + sign * unit * chance.uniform(-0.8, 1.1)
        agent = chance.choice(("default", "atlas", "mercury", "<b>agent</b>"))
        strategy = chance.choice(
            (
                "pullback-to-vwap/v3",
                "breakout-retest/v1",
                "opening-range/v2",
                "momentum/v5",
                "fade & <i>gap</i>/v1",
            )
        )
        moved = (
            ((at_ns + held_ns // 2, stop + sign * unit * 0.4),)
            if chance.random() < 0.2 and reason != "SL"
            else ()
        )
        thesis = (
            HOSTILE[number // 9 % len(HOSTILE)]
            if number % 9 == 0
            else "Pulled back to the session VWAP on falling volume inside an intact uptrend; the stop is under this morning's low. "
            * chance.randint(1, 3)
        )
        is_open = number >= trades - 2
        book.trade(
            at_ns, None if is_open else at_ns + held_ns, symbol=symbol, is_long=is_long, qty=round(9_000 / entry, 4) or 1.0,
            entry=entry, exit=None if is_open else out, stop=stop, target=target, reason=reason, agent=agent, strategy=strategy,
            thesis=thesis, trigger=entry * (1 + chance.gauss(0, 0.0002)), moved=moved,
            stop_after_ns=round(chance.lognormvariate(1.4, 0.5) * MS), wire_ns=round(chance.lognormvariate(-2.0, 0.45) * MS),
        )  # fmt: skip
        _walk(ticks[symbol], chance, at_ns - held_ns // 3 - MINUTE, at_ns, at_ns + held_ns, entry, out, unit)
        for _ in range(chance.choices((0, 1, 2, 5), (0.5, 0.3, 0.15, 0.05))[0]):
            code, check = chance.choice(CODES)
            valued = chance.random() < 0.7
            r = chance.choice((-1.0, -1.0, 1.6, 0.4, 0.0)) if valued else None
            book.refusal(
                at_ns + chance.randint(0, HOUR), code, check, agent=agent, r=r,
                usd=None if r is None else r * 120, result=("stop" if r < 0 else "target") if r is not None else None,
            )  # fmt: skip
        if number % 60 == 31:
            book.put(
                "states",
                at_ns=at_ns,
                state="REDUCE_ONLY",
                reason="DAILY_LOSS",
                event="set",
                detail="the day's loss is reached",
            )
            book.put(
                "states",
                at_ns=at_ns + 5 * HOUR,
                state="ACTIVE",
                reason="DAILY_LOSS",
                event="cleared",
                detail="",
            )
            book.put(
                "alerts",
                at_ns=at_ns,
                level="warning",
                code="DAILY_LOSS",
                message="ACTIVE -> REDUCE_ONLY: <b>reached</b>",
            )
        if number % 130 == 90:
            book.put(
                "states",
                at_ns=at_ns,
                state="HALTED",
                reason="OPERATOR",
                event="set",
                detail="by the operator",
            )
            book.put(
                "states",
                at_ns=at_ns + 9 * HOUR,
                state="ACTIVE",
                reason="OPERATOR",
                event="cleared",
                detail="",
            )
            book.put(
                "alerts",
                at_ns=at_ns,
                level="critical",
                code="UNPROTECTED",
                message="SOL/USD: no stop rests at the venue",
            )
    arrays = {}
    for symbol, found in ticks.items():
        if found:
            found.sort()
            arrays[symbol] = (np.array([at for at, _ in found]), np.array([price for _, price in found]))
    return book.db, TickPrices(arrays)


def _walk(
    ticks: list[tuple[int, float]],
    chance: random.Random,
    begin: int,
    opened: int,
    closed: int,
    entry: float,
    out: float,
    unit: float,
) -> None:
    """Add a market that passes through a trade's entry and exit."""
    steps = 240
    noise = 0.0
    for number in range(steps):
        at_ns = begin + (closed - begin) * number // steps * 5 // 4
        noise = noise * 0.94 + chance.gauss(0, unit * 0.05)
        part = (at_ns - opened) / max(1, closed - opened)
        drift = entry + (out - entry) * max(-0.4, min(1.2, part))
        ticks.append((at_ns, drift + noise * (1 if not 0.97 < part < 1.03 and abs(part) > 0.03 else 0.1)))
