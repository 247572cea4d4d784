"""What came twice, and what came out of order: the rows of a feed, looked at once before they are passed on.

Owns the memory of the trades that came lately, and each symbol's newest stamp. May not judge: a repeated trade is taken
out, a row with a stamp that cannot be too; one that is older than what came before it is passed on and its symbol noted. The one idea: one compiled pass over
a frame's rows. A trade is recognised by a 64-bit mix of all that it is, in a table in which each mix belongs to a row of
`WAYS` places, the newest first: of the last ten thousand trades the table has forgotten one in fifty thousand.

Speed: about 0.7 us a frame and 5 ns a trade.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hands.core.compiled import entry_point
from hands.core.market import RowKind, new_rows

FOREVER_NS: Final = 2**63 - 1
ROWS: Final = 1 << 15
WAYS: Final = 4
_TRADE: Final = 1
_MIX: Final = -7046029254386353131
_MIX_TIME: Final = -4417276706812531889
_W_HEAD, _W_PRICE, _W_SIZE, _W_VENUE, _W_ID = 0, 1, 2, 5, 7
assert int(RowKind.TRADE) == _TRADE


class Arrivals:
    """Looks at rows of a market of `symbols` symbols; `disordered` are those whose trades came out of order since."""

    def __init__(self, symbols: int) -> None:
        self.repeated = 0
        self.from_future = 0
        self._seen = np.zeros((ROWS, WAYS), np.int64)
        self._newest_ns = np.zeros(symbols, np.int64)
        self._disordered = np.zeros(symbols, np.uint8)
        self._any_disordered = False

    def look(self, rows: np.ndarray, count: int, latest_ns: int = FOREVER_NS) -> int:
        """Take repeated trades, and what is stamped later than `latest_ns`, out of the first `count` of `rows`.

        Returns how many rows are left, in order.
        """
        left, disordered, later = _look(rows, count, self._seen, self._newest_ns, self._disordered, latest_ns)
        if left != count:
            self.repeated += count - left - later
            self.from_future += later
        if disordered:
            self._any_disordered = True
        return int(left)

    def know(self, rows: np.ndarray) -> None:
        """Remember trades that came another way: should they still come on the feed, they come twice."""
        _look(
            rows.copy(), len(rows), self._seen, self._newest_ns, np.zeros_like(self._disordered), FOREVER_NS
        )

    def take_disordered(self) -> list[int]:
        """Return the symbols whose trades came out of order since the last time this was asked."""
        if not self._any_disordered:
            return []
        found: list[int] = np.flatnonzero(self._disordered).tolist()
        self._disordered[:] = 0
        self._any_disordered = False
        return found

    @staticmethod
    def warm_up() -> None:
        """Compile, or load from the cache."""
        Arrivals(1).look(new_rows(1), 1)


@entry_point
def _look(
    rows: np.ndarray,
    count: int,
    seen: np.ndarray,
    newest_ns: np.ndarray,
    disordered: np.ndarray,
    latest_ns: int,
) -> tuple[int, int, int]:
    """Return (rows left, trades that were older than what their symbol had seen, rows later than `latest_ns`)."""
    words: Any = rows.view(np.int64).reshape(-1, 8)
    left = 0
    late = 0
    later = 0
    for i in range(count):
        sym = rows[i].sym
        if words[i, _W_VENUE] > latest_ns:
            later += 1
            continue
        if rows[i].kind == _TRADE and words[i, _W_ID] != 0:
            mixed = (words[i, _W_ID] * _MIX) ^ (words[i, _W_VENUE] * _MIX_TIME)
            mixed = (mixed ^ (words[i, _W_PRICE] + sym)) * _MIX ^ words[i, _W_SIZE]
            place = ((mixed * _MIX_TIME) >> 40) & (ROWS - 1)
            known = False
            for way in range(WAYS):
                known |= seen[place, way] == mixed
            if known:
                continue
            for way in range(WAYS - 1, 0, -1):
                seen[place, way] = seen[place, way - 1]
            seen[place, 0] = mixed
        if words[i, _W_VENUE] >= newest_ns[sym]:
            newest_ns[sym] = words[i, _W_VENUE]
        elif rows[i].kind == _TRADE:
            disordered[sym] = 1
            late += 1
        if left != i:
            for word in range(8):
                words[left, word] = words[i, word]
        left += 1
    return left, late, later
