"""The demo's script: which example is dropped when, what must be said to it, and what the market does then.

Owns the order of events and the list of what was expected. May not look into the daemon: it drops files and reads
receipts, like any agent. The one idea: every line is an expectation, and the demo succeeds only if all of them held.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hands.cli.demo_market import START, STEP_S, DemoMarket
from hands.cli.documents import Dropped, now_text

PRICES = ("trigger_price", "take_profit", "stop_loss")
ANSWER_WITHIN_S = 5.0


@dataclass
class Act:
    """One dropped document: where it came from, what was expected, and what came."""

    label: str
    file: str
    expected: str
    symbol: str
    prices: dict[str, float]
    dropped: Dropped
    at_s: float
    receipt: dict[str, Any] | None = None

    @property
    def code(self) -> str | None:
        return None if self.receipt is None else str(self.receipt["code"])

    @property
    def state(self) -> str | None:
        return None if self.receipt is None else str(self.receipt["state"])

    def refresh(self) -> None:
        found = self.dropped.answer()
        if found is not None:
            self.receipt = found


@dataclass
class Expectation:
    what: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Pace:
    """How long the script pauses between documents, and how many steps a market move takes."""

    pause_s: float
    steps: int


UNHURRIED, BRISK = Pace(0.9, 22), Pace(0.05, 6)


@dataclass
class Script:
    """Drops the examples in `examples` into `folder` while `market` moves; `say` hears of every step."""

    examples: Path
    folder: Path
    market: DemoMarket
    pace: Pace
    say: Callable[[str], None]
    expectations: list[Expectation] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    async def play(self) -> None:
        """Play it all."""
        apple = await self._drop("01-equity-bracket-long.json", "an equity with a bracket")
        await self._reaches(apple, "OPEN")
        solana = await self._drop("02-crypto-long.json", "crypto, held by the engine")
        await self._reaches(solana, "OPEN")
        spy = await self._drop("03-touch.json", "waits for a touch")
        await self._reaches(spy, "ARMED")
        await self._refusals(apple)
        await self._trades_end(apple, solana, spy)
        again = await self._drop("11-symbol-busy.json", "AAPL again, now that it is free")
        await self._reaches(again, "OPEN")
        second = await self._drop("02-crypto-long.json", "SOL again: the fifth trade")
        await self._reaches(second, "OPEN")
        await self._drop("12-daily-limit.json", "the sixth trade of the day", "DAILY_TRADES")
        self.say("SOL/USD falls to the stop that rests at the venue")
        self._move("SOL/USD", second.prices["stop_loss"] * 0.997)
        await self._ends(second, "SL")

    async def _refusals(self, apple: Act) -> None:
        """One document for each common refusal."""
        await self._drop("04-short-not-allowed.json", "a short", "SHORT_NOT_ALLOWED")
        await self._drop("05-expired.json", "an hour too late", "EXPIRED", age_s=3600)
        await self._drop("06-malformed.json", "cut off in the middle", "MALFORMED_JSON")
        await self._drop("07-stop-on-the-wrong-side.json", "stop above the entry", "BRACKET_GEOMETRY")
        await self._drop("08-slippage.json", "the market has left", "SLIPPAGE")
        first = apple.dropped.intent_id
        await self._drop("09-duplicate-id.json", "the first id again", "DUPLICATE_INTENT", intent_id=first)
        await self._drop("10-unknown-symbol.json", "a ticker that is not", "SYMBOL_NOT_ALLOWED")
        await self._drop("11-symbol-busy.json", "AAPL while it is held", "SYMBOL_BUSY")

    async def _trades_end(self, apple: Act, solana: Act, spy: Act) -> None:
        self.say("SPY dips to its touch")
        self._move("SPY", spy.prices["trigger_price"] * 0.9996)
        await self._reaches(spy, "OPEN")
        self.say("SOL/USD rises to the target that the engine watches")
        self._move("SOL/USD", solana.prices["take_profit"] * 1.002)
        await self._ends(solana, "TP")
        self.say("AAPL rises to its bracket's target")
        self._move("AAPL", apple.prices["take_profit"] * 1.002)
        await self._ends(apple, "TP")
        self.say("SPY falls to its bracket's stop")
        self._move("SPY", spy.prices["stop_loss"] * 0.999)
        await self._ends(spy, "SL")

    # --- the parts ---------------------------------------------------------------------------------------

    async def _drop(
        self, file: str, label: str, expected: str = "OK", *, age_s: float = 0.0, intent_id: str | None = None
    ) -> Act:
        """Drop an example, adapted to the market, and wait for the verdict."""
        await asyncio.sleep(self.pace.pause_s)
        name = intent_id or str(uuid.uuid4())
        data, symbol, prices = self._adapted(file, name, age_s)
        act = Act(
            label,
            file,
            expected,
            symbol,
            prices,
            Dropped(self.folder, data, name),
            time.monotonic() - self.began_s,
        )
        self.acts.append(act)
        await self._until(lambda: act.receipt is not None, act)
        self._expect(f"{file}: {label}", expected, act.code or "no receipt")
        self.say(f"{label}: {act.code or 'no receipt'}")
        return act

    def _adapted(self, file: str, intent_id: str, age_s: float) -> tuple[bytes, str, dict[str, float]]:
        """Return an example's bytes with a new id, a new time and prices where the market is now."""
        text = (self.examples / file).read_text("utf-8")
        try:
            document = json.loads(text)
        except json.JSONDecodeError:  # the one that is meant to be unreadable
            return text.encode(), "", {}
        symbol = str(document["asset"])
        factor = self.market.factor(symbol)
        places = 2 if symbol in START else 4
        prices = {key: round(float(document[key]) * factor, places) for key in PRICES}
        moment = now_text()
        if age_s:
            moment = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")
        document |= prices | {"intent_id": intent_id, "timestamp": moment}
        return json.dumps(document, indent=2).encode(), symbol, prices

    def _move(self, symbol: str, target: float) -> None:
        self.market.move(symbol, round(target, 2), self.pace.steps)

    async def _reaches(self, act: Act, state: str) -> None:
        await self._until(lambda: act.state == state, act)
        self._expect(f"{act.label}: state", state, act.state or "no receipt")

    async def _ends(self, act: Act, reason: str) -> None:
        await self._until(lambda: act.state == "CLOSED", act)
        ended = (act.receipt or {}).get("exit") or {}
        self._expect(f"{act.label}: ended by", reason, str(ended.get("reason") or act.state))
        self.say(f"{act.symbol}: {ended.get('reason')} at {ended.get('price')}, {ended.get('pnl_usd')} USD")

    async def _until(self, holds: Callable[[], bool], act: Act) -> None:
        """Wait for a condition on an act's receipt; what did not come in time is for the expectation to say."""
        deadline = time.monotonic() + ANSWER_WITHIN_S + self.pace.steps * STEP_S
        act.refresh()
        while not holds() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            act.refresh()

    def _expect(self, what: str, expected: str, found: str) -> None:
        self.expectations.append(Expectation(what, expected, found, expected == found))
