"""What a strategy sees: the market, its positions and verdicts, as they are at one moment of the replay.

Owns the view and the small values it answers with, all immutable, amounts as floats. May not change anything, and nothing
can be read through it once its moment is over: nobody sees more than an agent beside a running daemon would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hands.core.market import Bar, Indicators
from hands.core.receipts import time_text
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO
from hands.core.vocab import Direction


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask (None: nobody there) with their sizes, and when it was received, in Unix ns."""

    bid: float | None
    ask: float | None
    bid_size: float
    ask_size: float
    at_ns: int

    @property
    def mid(self) -> float | None:
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Held:
    """A live trade of ours: `qty` is signed and 0 before the first fill; `stop` and `target` as they stand."""

    intent_id: str
    symbol: str
    qty: float
    avg_price: float | None
    stop: float | None
    target: float | None
    state: str
    opened_ns: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to a document, and where its business stands."""

    verdict: str
    code: str
    state: str
    message: str


class ViewIsOver(RuntimeError):  # noqa: N818  (says what is the case)
    """A view was read after its moment: keep the values that it gave, not the view."""


class View:
    """One moment. `symbol` is the one whose bar has closed, None where time alone has passed."""

    __slots__ = ("_interval_s", "_is_over", "_now_ns", "_state", "_symbol", "_symbols")

    def __init__(
        self, state: State, symbols: tuple[str, ...], symbol: str | None, interval_s: int, now_ns: int
    ) -> None:
        self._state = state
        self._now_ns = now_ns
        self._symbols = symbols
        self._symbol = symbol
        self._interval_s = interval_s
        self._is_over = False

    def end(self) -> None:
        """Let nothing be read any more."""
        self._is_over = True

    @property
    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return self._now_ns

    @property
    def now(self) -> str:
        """RFC 3339 UTC, as documents have it."""
        return time_text(self.now_ns) or ""

    @property
    def symbol(self) -> str | None:
        return self._symbol

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that the market has rows of."""
        return self._symbols

    @property
    def equity(self) -> float:
        """What the account was worth when the venue last said, in dollars."""
        account = self._at_now().account
        return 0.0 if account is None else account.equity / NANO

    def quote(self, symbol: str | None = None) -> Quote | None:
        """Return the current quote, None before the first."""
        found = self._at_now().market.quote(self._number(symbol))
        if found is None:
            return None
        return Quote(
            None if found.bid is None else found.bid / NANO,
            None if found.ask is None else found.ask / NANO,
            found.bid_size,
            found.ask_size,
            found.recv_ns,
        )

    def indicators(self, symbol: str | None = None, interval_s: int | None = None) -> Indicators:
        """Return the indicators (docs/indicators.md), those on bars by default of the interval that has closed."""
        number = self._number(symbol)
        return self._at_now().market.indicators(number, interval_s or self._interval_s)

    def bars(self, n: int, symbol: str | None = None, interval_s: int | None = None) -> list[Bar]:
        """Return the last `n` completed bars, oldest first."""
        number, market = self._number(symbol), self._at_now().market
        return market.bars(number, interval_s or self._interval_s, n)

    def position(self, symbol: str | None = None) -> Held | None:
        """Return the live trade in a symbol, None where there is none: one at a time is allowed."""
        wanted = self._name(symbol)
        found = [ticket for ticket in self._at_now().tickets.values() if ticket.symbol == wanted]
        return _held(found[0]) if found else None

    def positions(self) -> list[Held]:
        """Return all live trades, armed and working ones among them."""
        return [_held(ticket) for ticket in self._at_now().tickets.values()]

    def answer(self, intent_id: str) -> Answer | None:
        """Return what was said to a document, None where nothing has been said yet."""
        found = self._at_now().judged(intent_id)
        if found is None:
            return None
        return Answer(str(found.verdict), str(found.code), str(found.state), found.message)

    def intent(
        self,
        direction: str,
        stop_loss: float,
        take_profit: float,
        *,
        trigger_price: float | None = None,
        symbol: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Return an intent's document; `trigger_price` is by default the far side of the quote. Raises ValueError."""
        if trigger_price is None:
            quote = self.quote(symbol)
            far = None if quote is None else quote.ask if direction == Direction.LONG else quote.bid
            if far is None:
                raise ValueError(f"{self._name(symbol)} has no quote to take a trigger_price from")
            trigger_price = far
        return {
            "asset": self._name(symbol),
            "direction": direction,
            "trigger_price": trigger_price,
            "stop_loss": stop_loss,
            "take_profit": take_profit,
            **more,
        }

    def _name(self, symbol: str | None) -> str:
        name = self._symbol if symbol is None else symbol
        if name is None:
            raise ValueError("no bar has closed here, so say which symbol is meant")
        return name

    def _number(self, symbol: str | None) -> int:
        name, index = self._name(symbol), self._state.market.index
        if name not in index:
            raise ValueError(f"{name} is not in this market, which has {', '.join(self._symbols)}")
        return index[name]

    def _at_now(self) -> State:
        if self._is_over:
            raise ViewIsOver("a view can only be read while the strategy is called; keep its values instead")
        return self._state


def _held(ticket: Ticket) -> Held:
    plan = ticket.plan
    stop = None if plan is None else plan.stop_loss
    target = None if plan is None else plan.take_profit
    average = ticket.avg_entry
    return Held(
        ticket.intent_id,
        ticket.symbol,
        (ticket.owned if ticket.is_long else -ticket.owned) / NANO,
        None if average is None else average / NANO,
        None if stop is None else stop / NANO,
        None if target is None else target / NANO,
        str(ticket.state),
        ticket.opened_ns,
    )
