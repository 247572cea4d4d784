"""The market as the engine sees it: quotes, trades, bars, indicators and armed triggers of every symbol.

Owns all market state and the only ways to change it: rows, `arm`, `disarm`, `set_session`. May not read a
clock, do I/O, or decide anything: it reports which triggers a row fired and answers questions about the state
at that row. What a row does is written down in `kernel`.
The one idea: four record arrays hold everything, compiled code advances them, and what is read from them
leaves as small immutable values in which a missing number is `None`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from hands.core import bars, kernel, triggers
from hands.core.bars import BAR, RING, SERIES, Bar
from hands.core.indicators import Indicators
from hands.core.kernel import AMOUNT_MAX, KERNEL_FINGERPRINT, ROW, RowFlag, RowKind, new_rows
from hands.core.triggers import TRIGGER, TriggerDirection, TriggerOn
from hands.core.units import NS_PER_S, Price, round_to_tick

__all__ = [
    "KERNEL_FINGERPRINT",
    "ROW",
    "Bar",
    "Indicators",
    "Market",
    "QuoteView",
    "RowFlag",
    "RowKind",
    "TradeView",
    "TriggerDirection",
    "TriggerOn",
    "new_rows",
]

TRIGGERS_AT_FIRST = 64


class QuoteView(msgspec.Struct, frozen=True, gc=False):
    """The current quote; a missing side is `None` with size 0. Prices are exact (see `Market.quote`)."""

    bid: Price | None
    ask: Price | None
    bid_size: float
    ask_size: float
    venue_ns: int
    recv_ns: int


class TradeView(msgspec.Struct, frozen=True, gc=False):
    """The last eligible trade that was in sequence."""

    price: Price
    size: float
    venue_ns: int
    recv_ns: int
    trade_id: int


class Market:
    """All market state of a fixed list of symbols, and the only way to change it: rows, `arm`, `disarm`.

    A symbol is its position in `symbols`; `index` has it by name. The state is four record arrays: `symbols`
    (quote, last trade, session, nearest levels), `series` and `history` (bars and indicators), `table` (triggers).
    """

    def __init__(self, symbols: Sequence[str], intervals_s: Sequence[int] = (60, 300)) -> None:
        """Raises ValueError: a symbol or interval twice, no interval, or one that is not positive."""
        self.symbols = tuple(symbols)
        self.intervals_s = tuple(intervals_s)
        self.index = {symbol: sym for sym, symbol in enumerate(self.symbols)}
        self._series_of = {interval_s: k for k, interval_s in enumerate(self.intervals_s, start=1)}
        if len(self.index) != len(self.symbols) or len(self._series_of) != len(self.intervals_s):
            raise ValueError(f"a name twice among {self.symbols} or {self.intervals_s}")
        if not self.intervals_s or min(self.intervals_s) <= 0:
            raise ValueError(f"bar intervals must be positive seconds, not {self.intervals_s}")
        self._k_day = next((k for s, k in sorted(self._series_of.items()) if s * RING >= 86_400 >= s), 0)
        size = len(self.symbols)
        self._symbols = np.zeros(size, kernel.SYMBOL)
        self._symbols["first_ns"] = -1
        self._series = np.zeros((size, 1 + len(self.intervals_s)), SERIES)
        self._history = np.zeros((RING, size, len(self.intervals_s)), BAR)
        self._table = triggers.new_table(TRIGGERS_AT_FIRST)
        intervals_ns = np.array(self.intervals_s, np.int64) * NS_PER_S
        self._series["interval_ns"][:, 1:] = intervals_ns
        self._series["bar"]["start_ns"][:, 1:] = -intervals_ns  # so that a first row at time 0 opens a bar
        self._bind()
        triggers.clear_watch(self._symbols["watch"])
        self.rows_seen = 0
        self.fired_count = 0

    def _bind(self) -> None:
        """Take the views of the arrays that reading goes through: `.item` on one costs 60 ns."""
        self._quotes = self._symbols["quote"]
        self._trades = self._symbols["trade"]
        self.fired = self._table["fired"]

    def consume(self, rows: np.ndarray, start: int, stop: int) -> int:
        """Consume rows[start:stop] up to the first that fires; return the index after the last one consumed.

        The slots it fired, which are disarmed now, are `fired[:fired_count]`, in order of arming.

        Raises:
            IndexError: not 0 <= start <= stop <= len(rows).
            TypeError: `rows` is not a contiguous, writable array of `ROW` (another layout would be compiled anew,
                for seconds, in the middle of trading).
        """
        if not 0 <= start <= stop <= len(rows):
            raise IndexError(f"rows {start}:{stop} of {len(rows)}")
        if rows.dtype != ROW or not rows.flags.carray:
            raise TypeError(f"rows must be a contiguous writable array of ROW, not of {rows.dtype}")
        end, self.fired_count = kernel.consume(
            rows, start, stop, self._symbols, self._series, self._history, self._table
        )
        self.rows_seen += end - start
        return int(end)

    def arm(self, sym: int, on: TriggerOn, direction: TriggerDirection, level: float) -> int:
        """Arm a trigger that fires once, at the first later row that brings a watched value to `level`.

        Returns its slot (> 0), valid until it fires or is disarmed. Raises ValueError for arguments that cannot
        be meant.
        """
        if not 0 <= sym < len(self.symbols):
            raise ValueError(f"no symbol {sym}; there are {len(self.symbols)}")
        if not 0 < on <= triggers.MASK_MAX or direction not in {0, 1}:
            raise ValueError(f"a trigger on {on!r} in direction {direction!r}")
        if not 0.0 < level <= AMOUNT_MAX:
            raise ValueError(f"{level} is not a price")
        if self._table["next"][0] == 0:
            self._table = triggers.grown(self._table)
            self.fired = self._table["fired"]
        return int(triggers.link(self._symbols, self._table, sym, int(on), int(direction), float(level)))

    def disarm(self, slot: int) -> bool:
        """Disarm `slot`; False if it is not armed (any more)."""
        if not 0 < slot < len(self._table):
            return False
        return bool(triggers.unlink(self._symbols, self._table, slot))

    def set_session(self, sym: int, reset_ns: int, period_ns: int) -> None:
        """Restart the session's sums at the first row from `reset_ns` on (0: never), then every `period_ns` (0: once)."""
        if reset_ns < 0 or period_ns < 0:
            raise ValueError(f"a session reset at {reset_ns} every {period_ns} ns")
        session = self._symbols["session"]
        session["reset_ns"][sym] = reset_ns
        session["period_ns"][sym] = period_ns

    def quote(self, sym: int) -> QuoteView | None:
        """Return the current quote, `None` before the first.

        Prices are rounded to 10^-9, which restores the decimal that was sent: exactly below 2^22 dollars.
        """
        bid, ask, bid_size, ask_size, venue_ns, recv_ns, seen = self._quotes.item(sym)
        if not seen:
            return None
        return QuoteView(
            round_to_tick(bid, 1) if bid > 0.0 else None,
            round_to_tick(ask, 1) if ask > 0.0 else None,
            bid_size,
            ask_size,
            venue_ns,
            recv_ns,
        )

    def last_trade(self, sym: int) -> TradeView | None:
        """Return the last eligible trade in sequence, `None` before the first."""
        price, size, venue_ns, recv_ns, trade_id, _, seen = self._trades.item(sym)
        return TradeView(round_to_tick(price, 1), size, venue_ns, recv_ns, trade_id) if seen else None

    def indicators(self, sym: int, interval_s: int | None = None) -> Indicators:
        """Return the symbol's indicators; those on bars are of `interval_s`, by default the first interval."""
        k = 1 if interval_s is None else self._k(interval_s)
        values = kernel.observe(self._symbols, self._series, self._history, sym, k, self._k_day)
        return Indicators(*[None if math.isnan(value) else value for value in values])

    def bars(self, sym: int, interval_s: int, n: int) -> list[Bar]:
        """Return the last `n` completed bars (at most `RING` are kept), oldest first."""
        k = self._k(interval_s)
        count = int(self._series[sym, k]["study"]["count"])
        return [
            bars.view(self._history[i % RING, sym, k - 1]) for i in range(max(0, count - min(n, RING)), count)
        ]

    def forming(self, sym: int, interval_s: int) -> Bar | None:
        """Return the bar in progress, `None` while it has no trade."""
        bar = self._series[sym, self._k(interval_s)]["bar"]
        return bars.view(bar) if bar["trades"] else None

    def _k(self, interval_s: int) -> int:
        try:
            return self._series_of[interval_s]
        except KeyError:
            raise ValueError(f"no bars of {interval_s} s; there are {self.intervals_s}") from None

    def snapshot(self) -> bytes:
        """Return the whole state: a line of JSON that says what follows, then the arrays' bytes."""
        head = msgspec.json.encode(
            {
                "v": 1,
                "symbols": self.symbols,
                "intervals_s": self.intervals_s,
                "rows_seen": self.rows_seen,
                "table": len(self._table),
            }
        )
        arrays = (self._symbols, self._series, self._history, self._table)
        return b"\n".join((head, b"".join(array.tobytes() for array in arrays)))

    def digest(self) -> str:
        """Return the SHA-256 of the snapshot: equal if and only if the states are."""
        return hashlib.sha256(self.snapshot()).hexdigest()

    @classmethod
    def restore(cls, snapshot: bytes) -> Market:
        """Return the market a `snapshot` of this version was taken of. Raises ValueError: it is none."""
        head, _, body = snapshot.partition(b"\n")
        about = msgspec.json.decode(head)
        market = cls(about["symbols"], about["intervals_s"])
        market.rows_seen = about["rows_seen"]
        market._table = np.zeros(about["table"], TRIGGER)
        arrays = (market._symbols, market._series, market._history, market._table)
        if len(body) != sum(array.nbytes for array in arrays):
            raise ValueError(f"a snapshot of {len(body)} bytes of state is not one of this version")
        for array in arrays:
            array[...] = np.frombuffer(body[: array.nbytes], array.dtype).reshape(array.shape)
            body = body[array.nbytes :]
        market._bind()
        return market

    @staticmethod
    def warm_up() -> None:
        """Compile, or load from the cache, everything the kernel needs, on a scratch market."""
        market = Market(("X",))
        rows = new_rows(2)
        rows["kind"] = (RowKind.TRADE, RowKind.QUOTE)
        rows["flags"] = RowFlag.ELIGIBLE
        rows["price"] = rows["price2"] = 1.0
        market.disarm(market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 1.0))
        market.consume(rows, 0, 2)
        market.indicators(0)
