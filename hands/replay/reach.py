"""Where the next row lies that can matter to an order at the exchange, found by compiled code.

Owns what it takes for a row to matter, and the looking back for the market as it is. May not match anything: it may
name rows that turn out to change nothing, and never leaves out one that does. The one idea: between two such rows the
exchange need not be shown the market at all, since showing it would change no order; so a replay pays Python's price
for some rows in a million.

What matters to a working order, as the exchange's own rules have it (`hands.sim.venue.matching`):

- a stop: a print at or through it; of coins also the near side of the quote there;
- a resting limit: the far side of the quote at or through it, a print at or through it, and a quote that moves its place
  in the queue: the near price is at the limit with less displayed than is ahead of us, or we are alone;
- an order without a limit: every row of its symbol.

Amounts are compared in whole nano-units, rounded as the exchange's are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hands.core.compiled import compiled, entry_point, int64
from hands.core.rows import RowFlag, RowKind
from hands.core.units import NANO_ABS_MAX

_TRADE: Final = 1
_QUOTE: Final = 2
_ELIGIBLE: Final = 1
assert (_TRADE, _QUOTE, _ELIGIBLE) == (RowKind.TRADE, RowKind.QUOTE, RowFlag.ELIGIBLE)

AMOUNT_MAX: Final = NANO_ABS_MAX / 1e9
"""What is larger is no amount; NaN and what is below nought are none either."""

STOP, LIMIT, ANY = 0, 1, 2
_STOP: Final = 0
_LIMIT: Final = 1
NO_PLACE: Final = -1
"""Stands for the place in the queue of an order that has none yet."""

BY_ORDERS: Final = 1
BY_STRATEGY: Final = 2
_BY_STRATEGY: Final = 2
"""Why a symbol's rows are looked at: orders of it work, or a strategy waits for its next row."""

SYM, WHAT, SELLS, LEVEL, AHEAD, COIN = range(6)
WIDTH: Final = 6
"""The columns of an order that works: its symbol, STOP, LIMIT or ANY, whether it sells, its price, what is ahead of it in
the queue (`NO_PLACE`: nobody knows yet), whether it is in a coin. int64."""


@compiled
def _nano(amount: float) -> int:
    """Return an amount in nano-units, half to even as Python rounds; 0 for what is no amount."""
    if not 0.0 < amount <= AMOUNT_MAX:
        return 0
    return int64(np.rint(amount * 1e9))  # type: ignore[no-any-return]


@compiled
def _print_matters(price: int, what: int, sells: bool, level: int) -> bool:
    """Whether a print is at or through a stop or a limit."""
    if price <= 0:
        return False
    # a stop to sell and a limit to buy are reached from above
    return bool(price <= level if sells == (what == _STOP) else price >= level)


@compiled
def _quote_matters(bid: int, ask: int, near_size: int, order: np.ndarray, is_sized: bool) -> bool:
    """Whether a quote elects a coin's stop, or reaches a limit or moves its place in the queue."""
    sells, level, ahead = order[2] != 0, order[3], order[4]
    if order[1] == _STOP:
        price = bid if sells else ask
        return bool(order[5] != 0 and price > 0 and (price <= level if sells else price >= level))
    near, far = (ask, bid) if sells else (bid, ask)
    if far > 0 and (far >= level if sells else far <= level):
        return True
    if not is_sized:
        return False
    if near == level:
        return bool(ahead < 0 or near_size < ahead)
    return bool(ahead != 0 and (near <= 0 or (near > level if sells else near < level)))


@entry_point
def next_row(
    rows: np.ndarray, start: int, stop: int, why: np.ndarray, orders: np.ndarray, is_sized: bool
) -> int:
    """Return the first row of rows[start:stop] that can matter, `stop` if there is none.

    `why`: by symbol, BY_ORDERS and BY_STRATEGY (uint8). `orders`: shape (n, WIDTH). `is_sized`: sizes bound fills.
    """
    for i in range(start, stop):
        sym, kind = rows[i].sym, rows[i].kind
        if sym < 0 or sym >= len(why) or why[sym] == 0:
            continue
        if why[sym] & _BY_STRATEGY:
            return i
        is_print = kind == _TRADE and rows[i].flags & _ELIGIBLE != 0
        if not is_print and kind != _QUOTE:
            continue
        price, other = _nano(rows[i].price), _nano(rows[i].price2)
        for k in range(len(orders)):
            if orders[k, 0] != sym:
                continue
            if orders[k, 1] > _LIMIT:
                return i
            sells = orders[k, 2] != 0
            if is_print:
                if _print_matters(price, orders[k, 1], sells, orders[k, 3]):
                    return i
            elif _quote_matters(
                price, other, _nano(rows[i].size2 if sells else rows[i].size), orders[k], is_sized
            ):
                return i
    return stop


@entry_point
def latest(rows: np.ndarray, since: int, upto: int, sym: int, found: np.ndarray) -> None:
    """Put the last quote and the last print of a symbol in rows[since:upto] into `found` (int64, 2), -1 where none is."""
    found[0] = found[1] = -1
    for i in range(upto - 1, since - 1, -1):
        if rows[i].sym != sym:
            continue
        kind = rows[i].kind
        if kind == _QUOTE:
            if found[0] < 0:
                found[0] = i
        elif kind == _TRADE and found[1] < 0 and rows[i].flags & _ELIGIBLE and _nano(rows[i].price) > 0:
            found[1] = i
        if found[0] >= 0 and found[1] >= 0:
            return


@entry_point
def keep_newest(
    rows: np.ndarray, upto: int, base: int, newest: np.ndarray, numbers: np.ndarray, seen: np.ndarray
) -> None:
    """Copy the last quote and print of every symbol in rows[:upto] into `newest` (shape (symbols, 2)), where newer.

    `numbers`: which row of the whole market each of them is; `base` that of rows[0]. `seen` is scratch of that shape.
    """
    missing = 2 * len(newest)
    for s in range(len(newest)):
        seen[s, 0] = seen[s, 1] = 0
    for i in range(upto - 1, -1, -1):
        sym = rows[i].sym
        if sym < 0 or sym >= len(newest):
            continue
        kind = rows[i].kind
        if kind == _QUOTE:
            at = 0
        elif kind == _TRADE and rows[i].flags & _ELIGIBLE and _nano(rows[i].price) > 0:
            at = 1
        else:
            continue
        if seen[sym, at]:
            continue
        seen[sym, at] = 1
        missing -= 1
        if base + i > numbers[sym, at]:
            numbers[sym, at] = base + i
            newest[sym, at] = rows[i]
        if missing == 0:
            return


@entry_point
def first_at(times: np.ndarray, start: int, at_ns: int) -> int:
    """Return the first index from `start` on whose time is not before `at_ns`, len(times) if there is none."""
    low, high = start, len(times)
    while low < high:
        middle = (low + high) // 2
        if times[middle] < at_ns:
            low = middle + 1
        else:
            high = middle
    return low
