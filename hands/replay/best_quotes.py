"""One-sided quotes of many exchanges carried forward to a national best bid and offer, in compiled code.

Owns the books, one a symbol. The rule is the simulator's (`hands.sim.market.recordings`): sizes at the best price are
added up, a side that a newer quote locks or crosses is withdrawn as stale, and nothing is told until both sides exist,
nor without a change. May not drop a row for another reason.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hands.core.compiled import compiled, entry_point
from hands.replay.tables import NotPlain, Words

EXCHANGES_MAX: Final = 64


class BestQuotes:
    """The books of `symbols` stocks; exchanges are told apart by what a file calls them."""

    def __init__(self, symbols: int) -> None:
        self._exchanges: dict[str, int] = {}
        self._bids = np.zeros((symbols, EXCHANGES_MAX, 2))
        self._asks = np.zeros((symbols, EXCHANGES_MAX, 2))
        self._told = np.zeros((symbols, 4))

    def of(self, rows: np.ndarray, exchanges: Words) -> np.ndarray:
        """Turn quotes of one side, a price of 0 on the other, into the best of both; return those with news.

        Raises:
            NotPlain: more exchanges than there is room for.
        """
        codes = exchanges.of(lambda name: self._exchanges.setdefault(name, len(self._exchanges)), "i8")
        if len(self._exchanges) > EXCHANGES_MAX:
            raise NotPlain
        count = _tell(rows, codes, len(self._exchanges), self._bids, self._asks, self._told)
        return rows[:count]


@compiled
def _withdraw(side: np.ndarray, sym: int, known: int, at_least: float, at_most: float) -> None:
    """Take the quotes within these prices off one side of a book."""
    for x in range(known):
        if at_least <= side[sym, x, 0] <= at_most:
            side[sym, x, 0] = 0.0


@compiled
def _best(side: np.ndarray, sym: int, known: int, sign: float) -> tuple[float, float]:
    """Return the best price of one side of a book and the size at it; 0 where there is none.

    `sign` is 1 where the highest is the best, -1 where the lowest.
    """
    best = 0.0
    size = 0.0
    for x in range(known):
        price = side[sym, x, 0]
        if price > 0.0 and (best == 0.0 or sign * price > sign * best):
            best = price
            size = side[sym, x, 1]
        elif price > 0.0 and price == best:
            size += side[sym, x, 1]
    return best, size


@entry_point
def _tell(
    rows: np.ndarray, codes: np.ndarray, known: int, bids: np.ndarray, asks: np.ndarray, told: np.ndarray
) -> int:
    """Write the best quotes over `rows`, from the first on, and return how many there are."""
    words: Any = rows.view(np.int64).reshape(-1, 8)
    count = 0
    for i in range(len(rows)):
        sym = rows[i].sym
        if rows[i].price > 0.0:
            bids[sym, codes[i], 0] = rows[i].price
            bids[sym, codes[i], 1] = rows[i].size
            _withdraw(asks, sym, known, 0.0, rows[i].price)
        if rows[i].price2 > 0.0:
            asks[sym, codes[i], 0] = rows[i].price2
            asks[sym, codes[i], 1] = rows[i].size2
            _withdraw(bids, sym, known, rows[i].price2, np.inf)
        bid, bid_size = _best(bids, sym, known, 1.0)
        ask, ask_size = _best(asks, sym, known, -1.0)
        news = (
            bid != told[sym, 0] or ask != told[sym, 1] or bid_size != told[sym, 2] or ask_size != told[sym, 3]
        )
        if bid == 0.0 or ask == 0.0 or not news:
            continue
        told[sym, 0] = bid
        told[sym, 1] = ask
        told[sym, 2] = bid_size
        told[sym, 3] = ask_size
        for word in range(8):
            words[count, word] = words[i, word]
        rows[count].price = bid
        rows[count].size = bid_size
        rows[count].price2 = ask
        rows[count].size2 = ask_size
        count += 1
    return count
