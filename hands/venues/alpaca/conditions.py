"""What a trade counts for: the sale conditions under which it may update the consolidated last price, or the volume.

Owns the tables and the question. The one idea: a trade is a price only if *every* condition it carries is known to
update the last sale on its tape, and volume only if every one is known to update the volume; an unknown letter does
neither. A print that was agreed minutes ago, at an average, or after hours must not fire a trigger, but its shares
changed hands: they count in volume and VWAP.

Sources: CTS (tapes A, B) and UTP (tape C) output specifications, "consolidated last" and "volume" columns. Where those
say "only if it is the first or the only trade" (sold out of sequence, prior reference price) the answer for the last
price is no: we do not know. Official opens and closes (Q, M) repeat trades that were reported; a corrected close (9)
updates the last price but is no trade that happened now: these count for nothing.
"""

from __future__ import annotations

from functools import lru_cache

from hands.core.market import RowFlag

_PRICES = frozenset(
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
"""CTS and UTP agree on these."""

_VOLUME = frozenset(
    {
        "B",  # CTS: average price; UTP: bunched trade
        "C",  # cash
        "G",  # bunched sold
        "H",  # price variation
        "I",  # odd lot
        "N",  # next day
        "P",  # prior reference price
        "R",  # seller
        "T",  # extended hours
        "U",  # extended hours, out of sequence
        "V",  # contingent
        "W",  # average price
        "Z",  # out of sequence
        "4",  # derivatively priced
        "7",  # qualified contingent
    }
)
"""Shares that changed hands, at a price that is not the market's of now."""

_UTP = _PRICES | {
    "A",  # acquisition
    "B",  # bunched trade (the same letter is an average price on CTS)
    "D",  # distribution
    "S",  # split trade
    "Y",  # yellow flag, regular
    "1",  # stopped stock, regular
}

_BY_TAPE = {"A": _PRICES, "B": _PRICES, "C": _UTP}


@lru_cache(maxsize=8192)
def flags_of(conditions: tuple[str, ...], tape: str) -> int:
    """Return the `RowFlag` of a trade with these `conditions` on `tape` ("A", "B", "C", others), as a plain number."""
    prices = _BY_TAPE.get(tape, _PRICES)
    if prices.issuperset(conditions):
        return int(RowFlag.ELIGIBLE)
    return int(RowFlag.VOLUME) if (prices | _VOLUME).issuperset(conditions) else 0
