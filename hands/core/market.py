"""The market as the engine sees it: quotes, trades, bars, indicators and armed triggers of every symbol.

Owns all market state and the only ways to change it: rows, `arm`, `disarm`, `set_session`, and what repairs it
(`rebuild`, `load_bars`, `load_session`). May not read a clock, do I/O, or decide anything: it reports which triggers
a row fired and answers questions about the state at that row. What a row does is written down in `kernel`.
The one idea: four record arrays hold everything, compiled code advances them, and what is read from them
leaves as small immutable values in which a missing number is `None`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from hands.core import bars, kernel, suspects, triggers, views
from hands.core.bars import BAR, SERIES, SPARE, Bar
from hands.core.compiled import door, on_lines
from hands.core.indicators import SHOWN, Indicators, choose_periods
from hands.core.kernel import AMOUNT_MAX, KERNEL_FINGERPRINT, SYMBOL
from hands.core.rows import ROW, RowFlag, RowKind, new_rows, rows_of_bars, time_passes
from hands.core.triggers import BELOW, BY_DISTANCE, BY_FRACTION, FIXED, TRIGGER, TriggerDirection, TriggerOn
from hands.core.units import NS_PER_S, Price, round_to_tick
from hands.core.views import Checkpoint, QuoteView, SnapshotHead, TradeView, TriggerView

__all__ = [
    "KERNEL_FINGERPRINT",
    "ROW",
    "Bar",
    "Checkpoint",
    "Indicators",
    "Market",
    "QuoteView",
    "RowFlag",
    "RowKind",
    "TradeView",
    "TriggerDirection",
    "TriggerOn",
    "TriggerView",
    "new_rows",
]

TRIGGERS_AT_FIRST = 64

_LAYOUT = hashlib.sha256(repr([d.descr for d in (SYMBOL, SERIES, BAR, TRIGGER)]).encode()).hexdigest()[:16]


class Market:
    """All market state of a fixed list of symbols, and the only way to change it: rows, `arm`, `disarm`.

    A symbol is its position in `symbols`; `index` has it by name. The state is four record arrays: `symbols`
    (quote, last trade, session, periods, nearest levels), `series` and `history` (bars and indicators), `table`
    (triggers).
    """

    def __init__(
        self,
        symbols: Sequence[str],
        intervals_s: Sequence[int] = (60, 300),
        periods: Mapping[str, Mapping[str, float]] | None = None,
        *,
        suspicious_jump: float = math.inf,
    ) -> None:
        """`periods` are those of the indicators that are not the default's, by symbol; "*" stands for all symbols.

        `suspicious_jump`: how far from the last one a print is that may be wrong (`suspects`).
        Raises ValueError: a name twice, no interval, or a period, symbol or number that is none or out of its range.
        """
        self.symbols = tuple(symbols)
        self.intervals_s = tuple(intervals_s)
        self.index = {symbol: sym for sym, symbol in enumerate(self.symbols)}
        self._series_of = {interval_s: k for k, interval_s in enumerate(self.intervals_s, start=1)}
        if len(self.index) != len(self.symbols) or len(self._series_of) != len(self.intervals_s):
            raise ValueError(f"a name twice among {self.symbols} or {self.intervals_s}")
        if not self.intervals_s or min(self.intervals_s) <= 0:
            raise ValueError(f"bar intervals must be positive seconds, not {self.intervals_s}")
        day_s = bars.day_interval(self.intervals_s)
        self._k_day = self._series_of[day_s] if day_s else 0
        self._kept = [0, *(bars.kept_of(interval_s, interval_s == day_s) for interval_s in self.intervals_s)]
        ends = np.cumsum([n + SPARE for n in self._kept[1:]])
        size = len(self.symbols)
        self._symbols = on_lines((size,), SYMBOL)
        self._series = bars.new_series(size, self.intervals_s, ends)
        self._history = on_lines((size, int(ends[-1])), BAR)
        self._table = triggers.new_table(TRIGGERS_AT_FIRST)
        self._symbols["far_times"] = suspects.times_of(suspicious_jump)
        self._bind()
        triggers.clear_watch(self._symbols["watch"])
        choose_periods(self._symbols["periods"], self.index, periods or {})
        self._blank = self._series[:1].copy()
        self._consume, self._observe = door(kernel.consume), door(kernel.observe)
        self._shown = np.empty(len(SHOWN))
        self._checked: np.ndarray | None = None
        self.rows_seen = 0
        self.fired_count = 0
        self.mended: dict[int, None] = {}  # whose state was changed otherwise than by rows, for the record

    def _bind(self) -> None:
        """Take the views of the arrays that reading goes through: `.item` on one costs 60 ns."""
        self._quotes = self._symbols["quote"]
        self._trades = self._symbols["trade"]
        self._sides = (self._quotes["bid"], self._quotes["ask"])
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
        if rows is not self._checked:  # a feed has one buffer, so this is for its first frame: 150 ns
            self._check_rows(rows)
        end, self.fired_count = self._consume(
            rows, start, stop, self._symbols, self._series, self._history, self._table
        )
        self.rows_seen += end - start
        return int(end)

    def _check_rows(self, rows: np.ndarray) -> None:
        if rows.dtype != ROW or not rows.flags.carray:
            raise TypeError(f"rows must be a contiguous writable array of ROW, not of {rows.dtype}")
        self._checked = rows

    # --- triggers ----------------------------------------------------------------------------------------------

    def arm(self, sym: int, on: TriggerOn, direction: TriggerDirection, level: float) -> int:
        """Arm a trigger that fires once, at the first later row that brings a watched value to `level`.

        Returns its slot (> 0), valid until it fires or is disarmed. Raises ValueError for arguments that cannot
        be meant.
        """
        self._check_trigger(sym, on, direction)
        if not 0.0 < level <= AMOUNT_MAX:
            raise ValueError(f"{level} is not a price")
        return self._arm(sym, on, direction, FIXED, level, 0.0)

    def arm_trailing(
        self,
        sym: int,
        on: TriggerOn,
        direction: TriggerDirection,
        distance: float,
        *,
        is_fraction: bool = False,
        best: float | None = None,
    ) -> int:
        """Arm a trigger whose level stays `distance` behind the best price of one watched value.

        BELOW follows the highest price since arming and fires that far below it, ABOVE the lowest and above. With
        `is_fraction` the distance is that part of the best price. The value's price at arming is the first, or
        `best` if that is better (a trailing stop armed again after a restart). Otherwise as `arm`.
        """
        self._check_trigger(sym, on, direction)
        if on not in {TriggerOn.TRADE, TriggerOn.BID, TriggerOn.ASK, TriggerOn.MID}:
            raise ValueError(f"a trailing trigger follows one value, not {on!r}")
        if not 0.0 < distance <= AMOUNT_MAX or (is_fraction and distance >= 1.0):
            raise ValueError(f"{distance} is not a distance to trail at")
        if best is not None and not 0.0 < best <= AMOUNT_MAX:
            raise ValueError(f"{best} is not a price")
        worst = -math.inf if direction == BELOW else math.inf
        trails = BY_FRACTION if is_fraction else BY_DISTANCE
        return self._arm(sym, on, direction, trails, distance, worst if best is None else best)

    def _check_trigger(self, sym: int, on: TriggerOn, direction: TriggerDirection) -> None:
        if not 0 <= sym < len(self.symbols):
            raise ValueError(f"no symbol {sym}; there are {len(self.symbols)}")
        if not 0 < on <= triggers.MASK_MAX or direction not in {0, 1}:
            raise ValueError(f"a trigger on {on!r} in direction {direction!r}")

    def _arm(self, sym: int, on: int, direction: int, trails: int, level: float, best: float) -> int:
        if self._table["next"][0] == 0:
            self._table = triggers.grown(self._table)
            self.fired = self._table["fired"]
        return int(
            kernel.arm(
                self._symbols, self._table, sym, int(on), int(direction), trails, float(level), float(best)
            )
        )

    def disarm(self, slot: int) -> bool:
        """Disarm `slot`; False if it is not armed (any more)."""
        return 0 < slot < len(self._table) and bool(kernel.disarm(self._symbols, self._table, slot))

    def trigger(self, slot: int) -> TriggerView | None:
        """Return what an armed trigger waits for, `None` for a slot that is not armed."""
        if not 0 < slot < len(self._table) or not self._table["armed"][slot]:
            return None
        return views.trigger_view(self._table, slot)

    # --- reading -----------------------------------------------------------------------------------------------

    def quote(self, sym: int) -> QuoteView | None:
        """Return the current quote, `None` before the first.

        Prices are rounded to 10^-9, which restores the decimal that was sent: exactly below 2^22 dollars.
        """
        bid, ask, bid_size, ask_size, venue_ns, recv_ns, seen = self._quotes.item(sym)
        if not seen:
            return None
        best_bid = round_to_tick(bid, 1) if bid > 0.0 else None
        best_ask = round_to_tick(ask, 1) if ask > 0.0 else None
        return QuoteView(best_bid, best_ask, bid_size, ask_size, venue_ns, recv_ns)

    def side(self, sym: int, ask: bool) -> Price | None:
        """Return one side of the current quote as `quote` has it: 0.3 µs, where all of it takes 1.1."""
        price = self._sides[ask].item(sym)
        return round_to_tick(price, 1) if price > 0.0 else None

    def last_trade(self, sym: int) -> TradeView | None:
        """Return the last eligible trade in sequence, `None` before the first."""
        price, size, venue_ns, recv_ns, trade_id, _, seen = self._trades.item(sym)
        return TradeView(round_to_tick(price, 1), size, venue_ns, recv_ns, trade_id) if seen else None

    def suspicious(self, sym: int) -> int:
        """Return how many of a symbol's prints were held aside as suspicious since it was loaded."""
        return int(self._symbols["suspect"]["count"][sym])

    def indicators(self, sym: int, interval_s: int | None = None) -> Indicators:
        """Return the symbol's indicators; those on bars are of `interval_s`, by default the first interval."""
        k = 1 if interval_s is None else self._k(interval_s)
        if not 0 <= sym < len(self.symbols):
            raise IndexError(f"no symbol {sym}; there are {len(self.symbols)}")
        self._observe(self._symbols, self._series, self._history, sym, k, self._k_day, self._shown)
        return Indicators(*[value if value == value else None for value in self._shown.tolist()])  # noqa: PLR0124 NaN

    def period(self, sym: int, name: str) -> float:
        """Return a period of a symbol's indicators. Raises ValueError: there is none of that name."""
        return float(self._symbols["periods"][name][sym])

    def bars(self, sym: int, interval_s: int, n: int) -> list[Bar]:
        """Return the last `n` completed bars, oldest first; `KEPT` are kept, and a day of the day's interval."""
        k = self._k(interval_s)
        return [bars.view(record) for record in self._completed(sym, k)[-n:]] if n > 0 else []

    def _completed(self, sym: int, k: int) -> np.ndarray:
        """Return a copy of the completed bars that can be read, oldest first."""
        series = self._series[sym, k]
        ring = self._history[sym, series["ring_from"] : series["ring_to"]]
        count = int(series["count"])
        return ring[np.arange(max(0, count - self._kept[k]), count) % len(ring)]

    def forming(self, sym: int, interval_s: int) -> Bar | None:
        """Return the bar in progress, `None` while it has no price."""
        bar = self._series[sym, self._k(interval_s)]["bar"]
        return bars.view(bar) if bar["open"] > 0 else None

    def _k(self, interval_s: int) -> int:
        try:
            return self._series_of[interval_s]
        except KeyError:
            raise ValueError(f"no bars of {interval_s} s; there are {self.intervals_s}") from None

    # --- sessions, repair, history -----------------------------------------------------------------------------

    def set_session(self, sym: int, reset_ns: int, period_ns: int) -> None:
        """Restart the session's sums at the first row from `reset_ns` on (0: never), then every `period_ns` (0: once)."""
        if reset_ns < 0 or period_ns < 0:
            raise ValueError(f"a session reset at {reset_ns} every {period_ns} ns")
        self.mended[sym] = None
        symbol = self._symbols[sym]
        symbol["reset"] = (reset_ns, period_ns, reset_ns, period_ns)
        symbol["due_ns"] = min(int(symbol["due_ns"]), reset_ns)

    def checkpoint(self, sym: int) -> Checkpoint:
        """Return what is needed to go back to this moment for one symbol: about 2 kB."""
        symbol = self._symbols[sym]
        return Checkpoint(sym, int(symbol["seen_ns"]), symbol.tobytes(), self._series[sym].tobytes())

    def records(self, sym: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a symbol's record, series and bars as they lie in memory: for `stage` and `symbol_image` alone."""
        return self._symbols[sym : sym + 1], self._series[sym], self._history[sym]

    def rebuild(self, checkpoint: Checkpoint, rows: np.ndarray) -> None:
        """Put a symbol's state to what it would be, had all of `rows` (and no others) come since `checkpoint`.

        For a gap that was filled from history, and for trades that were corrected or cancelled: `rows` are the
        symbol's, all since the checkpoint, in the order in which they should have come, duplicates removed. If they
        are what a run without the gap consumed, the state is that run's to the bit (`digest(sym)`). Quotes may be
        left out: bars that time has closed stay closed, and the newer of the two quotes is kept.
        No trigger fires for what is past, none is lost, and a trailing one's best price is what it saw live. A
        `set_session` since the checkpoint stays. `rows_seen` does not count.

        Raises:
            TypeError: as `consume`.
            ValueError: a row of another symbol, or more bars than `SPARE` of one interval have closed since the
                checkpoint (those before it are no longer complete: load them from history).
        """
        sym = checkpoint.sym
        self._check_rows(rows)
        if len(rows) and (rows["sym"] != sym).any():
            raise ValueError(f"rows of other symbols than {self.symbols[sym]}")
        series = np.frombuffer(checkpoint.series, SERIES)
        closed = int((self._series["count"][sym, 1:] - series["count"][1:]).max())
        if closed > SPARE:
            raise ValueError(f"{closed} bars have closed since the checkpoint; at most {SPARE}")
        self.mended[sym] = None
        symbol = self._symbols[sym]
        was = symbol.copy()
        self._series[sym] = series
        self._symbols[sym] = np.frombuffer(checkpoint.symbol, SYMBOL)[0]
        triggers.clear_watch(self._symbols["watch"][sym : sym + 1])
        told = was["reset"][["told_at_ns", "told_period_ns"]].item()
        if told != symbol["reset"][["told_at_ns", "told_period_ns"]].item():
            self.set_session(sym, *told)
        self._replay(rows)
        if was["seen_ns"] > symbol["seen_ns"]:
            self.pass_time(sym, int(was["seen_ns"]))
        if was["quote"].item()[4:6] > symbol["quote"].item()[4:6]:  # by stamp and receipt
            symbol["quote"] = was["quote"]
        symbol["watch"] = was["watch"]

    def _replay(self, rows: np.ndarray) -> None:
        seen = self.rows_seen
        self.consume(rows, 0, len(rows))
        self.rows_seen = seen

    def forget(self, sym: int) -> None:
        """Begin a symbol anew, as if no row of it had come: to be loaded from history.

        Its triggers, its periods, its quote and the session it was told stay.
        """
        self.mended[sym] = None
        symbol = self._symbols[sym]
        for name in ("due_ns", "seen_ns", "session", "trade", "suspect"):
            symbol[name] = np.zeros((), SYMBOL[name])
        self._series[sym] = self._blank[0]
        self.set_session(sym, *symbol["reset"][["told_at_ns", "told_period_ns"]].item())

    def pass_time(self, sym: int, venue_ns: int) -> None:
        """Let a symbol's time pass without a trade: bars close, and what was made long before is late."""
        if venue_ns > self._symbols["seen_ns"][sym]:  # 0, say, is when no symbol was seen
            self.mended[sym] = None
            self._replay(time_passes(sym, venue_ns))

    def load_bars(
        self, sym: int, interval_s: int, completed: Sequence[Bar], since_ns: int | None = None
    ) -> None:
        """Make `completed` bars from history all that is known of a symbol's interval, and its indicators theirs.

        `since_ns`: from when on they are complete, by default the first one's start. The rows that follow should
        begin where the last one ends; what is older changes no bar. Other intervals and the ticks stay as they are.
        Raises ValueError: bars out of order, not on the interval's grid, or with prices that are none.
        """
        k, interval_ns = self._k(interval_s), interval_s * NS_PER_S
        stage = Market(self.symbols[sym : sym + 1], self.intervals_s)
        stage._symbols["periods"][0] = self._symbols["periods"][sym]
        rows = rows_of_bars(completed, interval_ns)
        stage.consume(rows, 0, len(rows))
        if completed:
            stage.pass_time(0, completed[-1].start_ns + interval_ns)
            stage._series["since_ns"][0, k] = completed[0].start_ns if since_ns is None else since_ns
        if stage._symbols["session"]["trades"][0] != len(rows):
            raise ValueError("bars with prices or volumes that are none")
        self.mended[sym] = None
        made, ring = stage._series[0, k], stage._history[0]
        begin, end, count = int(made["ring_from"]), int(made["ring_to"]), len(completed)
        for number in range(max(0, count - (end - begin)), count):
            ring["trades"][begin + number % (end - begin)] = completed[number].trades
        self._series[sym, k] = made
        self._history[sym, begin:end] = ring[begin:end]
        self._symbols["due_ns"][sym] = 0

    def load_session(self, sym: int, start_ns: int, trades: int, volume: float, notional: float) -> None:
        """Make these the session's sums so far: `trades` since `start_ns`, their volume and volume x price.

        Raises ValueError: sums that are none.
        """
        if min(start_ns, trades) < 0 or not 0.0 <= volume < math.inf or not 0.0 <= notional < math.inf:
            raise ValueError(f"{trades} trades since {start_ns}, volume {volume}, notional {notional}")
        self.mended[sym] = None
        self._symbols["session"][sym] = (start_ns, trades, (notional, 0.0), (volume, 0.0))

    # --- snapshots ---------------------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return sum(array.nbytes for array in self._arrays())

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self._symbols, self._series, self._history, self._table

    def snapshot(self) -> bytes:
        """Return the whole state: a line of JSON that says what follows, then the arrays' bytes."""
        head = SnapshotHead(2, _LAYOUT, self.symbols, self.intervals_s, self.rows_seen, len(self._table))
        arrays = b"".join(array.tobytes() for array in self._arrays())
        return b"\n".join((msgspec.json.encode(head), arrays))

    def digest(self, sym: int | None = None) -> str:
        """Return a SHA-256: of the whole state, or of all that rows and sessions made of one symbol.

        Equal if and only if the states are. A symbol's is without triggers and without `rows_seen`.
        """
        if sym is None:
            return hashlib.sha256(self.snapshot()).hexdigest()
        symbol = self._symbols[sym : sym + 1].copy()
        triggers.clear_watch(symbol["watch"])
        completed = [self._completed(sym, k).tobytes() for k in self._series_of.values()]
        parts = (symbol.tobytes(), self._series[sym].tobytes(), *completed)
        return hashlib.sha256(b"".join(parts)).hexdigest()

    @classmethod
    def restore(cls, snapshot: bytes) -> Market:
        """Return the market a `snapshot` of this version was taken of; what fired last is not in it.

        Raises ValueError: it is none.
        """
        head, _, body = snapshot.partition(b"\n")
        about = SnapshotHead.read(head)
        least = 0 if about is None else len(about.symbols) * SYMBOL.itemsize + about.table * TRIGGER.itemsize
        if about is None or about.layout != _LAYOUT or least > len(body):
            raise ValueError(f"a snapshot of {len(body)} bytes of state is not one of this version")
        market = cls(about.symbols, about.intervals_s)
        market.rows_seen = about.rows_seen
        market._table = np.zeros(about.table, TRIGGER)
        if len(body) != market.nbytes:
            raise ValueError(
                f"a snapshot of {len(body)} bytes, {market.nbytes} expected, is not one of this version"
            )
        for array in market._arrays():
            array[...] = np.frombuffer(body[: array.nbytes], array.dtype).reshape(array.shape)
            body = body[array.nbytes :]
        market._bind()
        return market

    @staticmethod
    def warm_up() -> None:
        """Compile, or load from the cache, everything the kernel needs, on a scratch market.

        Markets made afterwards are quicker to call than those made before: 0.4 µs instead of 0.9.
        """
        market = Market(("X",))
        rows = new_rows(2)
        rows["kind"] = (RowKind.TRADE, RowKind.QUOTE)
        rows["flags"] = RowFlag.ELIGIBLE
        rows["price"] = rows["price2"] = 1.0
        market.disarm(market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 1.0))
        market.consume(rows, 0, 2)
        market.indicators(0)
