"""The rows of the control documents, read and judged: what moves the market, and what changes an asset.

Owns their keys, their defaults and every complaint about them; changes nothing. The one idea: a document is read to
its end before anything of it happens, so that a wrong row leaves the market as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from hands.core.units import NANO, Ns, NumberError, Price, Qty, nano_truncated
from hands.sim.market.feeds import CRYPTO_SYMBOL, STOCK_SYMBOL
from hands.sim.server.answers import read_json
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Status, Trade

Row = dict[str, Any]

DEFAULT_SIZE: Final = {"bid_size": 1000, "ask_size": 1000, "size": 100}
STATUS_MESSAGES: Final = {
    "H": "Trading Halt",
    "P": "Volatility Trading Pause",
    "Q": "Quotation Resumption",
    "T": "Trading Resumption",
    "2": "Trading Halt",
    "3": "Resume",
}
"""What the tapes call the codes that the exchange acts on."""

_QUOTE: Final = frozenset({"symbol", "bid", "ask", "bid_size", "ask_size"})
_BAND: Final = frozenset({"symbol", "limit_up", "limit_down", "indicator"})
_ROWS: Final = {
    "status": frozenset({"symbol", "status", "status_message", "reason", "reason_message"}),
    "correct": frozenset({"symbol", "correct", "price", "size"}),
    "cancel": frozenset({"symbol", "cancel", "action"}),
    "limit_up": _BAND,
    "limit_down": _BAND,
    "price": frozenset({"symbol", "price", "size", "exchange", "conditions"}),
    "bid": _QUOTE,
    "ask": _QUOTE,
}
"""What a row may hold, by the key that says which kind it is; the first of these that is there does."""


class ControlError(ValueError):
    """A control document is not understood; the message says what was found."""


def read_rows(raw: bytes) -> list[Row]:
    """Return a JSON array of objects, or one object as an array; fractions as `Decimal`. Raises `ControlError`."""
    try:
        document = read_json(raw)
    except ValueError as error:
        raise ControlError(f"not JSON: {error}") from error
    rows = document if isinstance(document, list) else [document]
    for row in rows:
        if not isinstance(row, dict):
            raise ControlError(f"an array of objects is expected, found {row!r}")
    return rows


def read_object(raw: bytes) -> Row:
    """Return one JSON object, empty for an empty body. Raises `ControlError`."""
    rows = read_rows(raw) if raw else [{}]
    if len(rows) != 1:
        raise ControlError(f"one object is expected, found {len(rows)}")
    row: Row = plain(rows[0])
    return row


def plain(value: Any) -> Any:
    """Return a document with its fractions as floats."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def check_keys(row: Row, allowed: frozenset[str]) -> None:
    """Raise `ControlError` if a row holds anything else."""
    unknown = sorted(set(row) - allowed)
    if unknown:
        raise ControlError(f"unknown key {unknown[0]!r}; known here: {', '.join(sorted(allowed))}")


def read_symbol(row: Row) -> str:
    """Return the symbol of a row. Raises `ControlError`."""
    symbol = row.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise ControlError(f"a row needs a symbol: {plain(row)}")
    return check_symbol(symbol)


def check_symbol(symbol: str) -> str:
    """Return a symbol if it is one. Raises `ControlError`."""
    if not (STOCK_SYMBOL.fullmatch(symbol) or CRYPTO_SYMBOL.fullmatch(symbol)):
        raise ControlError(f"symbol {symbol!r} is neither like AAPL nor like BTC/USD")
    return symbol


@dataclass(slots=True)
class MarketRows:
    """Turns market rows into events: `trade_ids` counts on from the last print, `find` knows the earlier ones."""

    t_ns: Ns
    trade_ids: int
    find: Callable[[str, int], Trade | None]
    prints: list[Trade] = field(default_factory=list)

    def event(self, row: Row) -> MarketEvent:
        """Return what a row says. Raises `ControlError`."""
        symbol = read_symbol(row)
        kind = next((kind for kind in _ROWS if kind in row), None)
        if kind is None:
            raise ControlError(f"a row is a trade (price), a quote (bid, ask) or a notice: {plain(row)}")
        check_keys(row, _ROWS[kind])
        readers: dict[str, Callable[[str, Row], MarketEvent]] = {
            "status": self._status,
            "correct": self._correction,
            "cancel": self._cancellation,
            "limit_up": self._band,
            "limit_down": self._band,
            "price": self._trade,
        }
        return readers.get(kind, self._quote)(symbol, row)

    def _quote(self, symbol: str, row: Row) -> Quote:
        # A side that is not given is empty: price and size 0.
        bid, ask = _amount(row, "bid"), _amount(row, "ask")
        bid_size = _amount(row, "bid_size") if bid else 0
        ask_size = _amount(row, "ask_size") if ask else 0
        return Quote(symbol, Price(bid), Price(ask), Qty(bid_size), Qty(ask_size), self.t_ns)

    def _trade(self, symbol: str, row: Row) -> Trade:
        conditions = row.get("conditions", ["@"])
        if not isinstance(conditions, list) or not all(isinstance(c, str) for c in conditions):
            raise ControlError(f"conditions are {conditions!r}; a list of texts is expected")
        price, size = Price(_positive(row, "price")), Qty(_positive(row, "size"))
        self.trade_ids += 1
        exchange = _text(row, "exchange", "V")
        trade = Trade(symbol, price, size, self.t_ns, self.trade_ids, exchange, tuple(conditions))
        self.prints.append(trade)
        return trade

    def _status(self, symbol: str, row: Row) -> Status:
        code = _text(row, "status", "")
        message = _text(row, "status_message", STATUS_MESSAGES.get(code, ""))
        if not code or not message:
            known = ", ".join(STATUS_MESSAGES)
            raise ControlError(f"status {code!r} needs a status_message; known by themselves: {known}")
        return Status(
            symbol, code, message, _text(row, "reason", ""), _text(row, "reason_message", ""), self.t_ns
        )

    def _correction(self, symbol: str, row: Row) -> Correction:
        original = self._print(symbol, row, "correct")
        price = Price(_positive(row, "price")) if "price" in row else original.price
        size = Qty(_positive(row, "size")) if "size" in row else original.size
        if (price, size) == (original.price, original.size):
            raise ControlError(
                f"print {original.trade_id} of {symbol} already is so; give another price or size"
            )
        self.trade_ids += 1
        corrected = Trade(
            symbol, price, size, original.t_ns, self.trade_ids, original.exchange, original.conditions
        )
        self.prints.append(corrected)
        return Correction(symbol, original, corrected, self.t_ns)

    def _cancellation(self, symbol: str, row: Row) -> Cancellation:
        action = _text(row, "action", "C")
        if action not in {"C", "E"}:
            raise ControlError(f"action is {action!r}; it is 'C' (canceled) or 'E' (error)")
        return Cancellation(symbol, self._print(symbol, row, "cancel"), self.t_ns, action)

    def _band(self, symbol: str, row: Row) -> PriceBand:
        up, down = _amount(row, "limit_up"), _amount(row, "limit_down")
        if not 0 < down < up:
            raise ControlError(f"price bands need 0 < limit_down < limit_up: {plain(row)}")
        return PriceBand(symbol, Price(up), Price(down), _text(row, "indicator", "B"), self.t_ns)

    def _print(self, symbol: str, row: Row, key: str) -> Trade:
        number = row[key]
        in_this_document = (
            trade for trade in self.prints if (trade.symbol, trade.trade_id) == (symbol, number)
        )
        trade = next(in_this_document, None)
        if trade is None and isinstance(number, int):
            trade = self.find(symbol, number)
        if trade is None:
            raise ControlError(f"{key}: no print {number!r} of {symbol} that was made here")
        return trade


def _text(row: Row, key: str, default: str) -> str:
    value = row.get(key, default)
    if not isinstance(value, str):
        raise ControlError(f"{key} is {value!r}, not a text")
    return value


def _positive(row: Row, key: str) -> int:
    amount = _amount(row, key)
    if not amount:
        raise ControlError(f"{key} is {plain(row.get(key))!r}; a print has one above zero")
    return amount


def _amount(row: Row, key: str) -> int:
    value = row.get(key)
    if value is None:
        return DEFAULT_SIZE.get(key, 0) * NANO
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise ControlError(f"{key} is {value!r}, not a number")
    try:
        amount = nano_truncated(str(value))
    except NumberError as error:
        raise ControlError(f"{key}: {error}") from error
    if amount < 0:
        raise ControlError(f"{key} is {value}, below zero")
    return amount
