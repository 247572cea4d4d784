"""Which trades are prices: the sale conditions under which a trade may update the consolidated last price.

Owns the table and the question. The one idea: a trade is a price only if *every* condition it carries is known
to update the last sale on its tape; an unknown letter is no price. A print that was agreed minutes ago, at an
average, or after hours must not fire a trigger. One bit serves last, high, low, volume and indicators alike,
so trades that count for volume alone (odd lots, form T) are left out.

Sources: CTS (tapes A, B) and UTP (tape C) output specifications, "consolidated last" columns. Where those say
"only if it is the first or the only trade" (sold out of sequence, prior reference price) the answer is no: we
do not know. Corrected closes (9) update the last price but are no trade that happened now.
"""

from __future__ import annotations

from functools import lru_cache

_BOTH_TAPES = frozenset(
    {
        "",
        " ",
        "@",  # regular sale
        "E",  # automatic execution
        "F",  # intermarket sweep
        "K",  # rule 127 / 155
        "L",  # sold last: late, but in sequence
        "O",  # opening print
        "X",  # cross
        "5",  # re-opening print
        "6",  # closing print
    }
)
"""CTS and UTP agree on these. Known and left out: B (CTS average price), C cash, G bunched sold, H price
variation, I odd lot, M/Q official close and open, N next day, P prior reference, R seller, T/U extended hours,
V contingent, W average price, Z out of sequence, 4 derivatively priced, 7 qualified contingent."""

_UTP = _BOTH_TAPES | {
    "A",  # acquisition
    "B",  # bunched trade (the same letter is an average price on CTS)
    "D",  # distribution
    "S",  # split trade
    "Y",  # yellow flag, regular
    "1",  # stopped stock, regular
}

_BY_TAPE = {"A": _BOTH_TAPES, "B": _BOTH_TAPES, "C": _UTP}


@lru_cache(maxsize=8192)
def updates_last(conditions: tuple[str, ...], tape: str) -> bool:
    """Whether a trade with these `conditions` on `tape` ("A", "B", "C", others) may update the last price."""
    return _BY_TAPE.get(tape, _BOTH_TAPES).issuperset(conditions)
