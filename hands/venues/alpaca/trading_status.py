"""What a trading status means: is the symbol halted from now on, does it trade again, or neither?

Owns the table of the tapes' codes. The one idea: a code that is not known to start or end a halt changes nothing; the
quotation codes ("Q": quotes resume, trading does not yet) and the indications come within a halt.

Sources: CTS (tapes A, B) and UTP (tapes C, O) output specifications, as the venue's documentation lists them.
"""

from __future__ import annotations

HALTS = frozenset({"2", "H", "P"})
"""CTS: 2 trading halt. UTP: H trading halt, P volatility trading pause."""

RESUMES = frozenset({"3", "T"})
"""CTS: 3 resume. UTP: T trading resumption."""


def is_halted(code: str) -> bool | None:
    """Return whether a symbol is halted after the status `code`; None where the code does not say."""
    if code in HALTS:
        return True
    return False if code in RESUMES else None
