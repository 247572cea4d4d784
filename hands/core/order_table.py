"""The order table: status x report -> status, as data.

Owns what a report about an order may do to what we know of it. May not act on it. The one idea (h11's): a dict,
not code. A report is *stale* when it tells of something already left behind (late, duplicated, reordered: all
normal); an arc that is not in the table is unknown venue behaviour, and the caller freezes the symbol.
"""

from __future__ import annotations

from hands.core.vocab import OrderStatus as S

STALE = None

_BIRTH = "pending_new accepted accepted_for_bidding pending_review"
_WORK = "new held partially_filled stopped suspended calculated done_for_day"
_CHANGE = "pending_cancel pending_replace"
_END = "filled canceled expired replaced rejected"

# Each row: the status we hold, the statuses a report may move it to, and those that are only late news.
_ROWS: dict[S, tuple[str, str]] = {
    S.UNSENT: (f"{_BIRTH} {_WORK} {_CHANGE} {_END}", ""),
    S.UNKNOWN: (f"{_BIRTH} {_WORK} {_CHANGE} {_END}", ""),
    S.PENDING_NEW: (f"{_BIRTH} {_WORK} {_CHANGE} {_END}", ""),
    S.PENDING_REVIEW: (f"{_BIRTH} {_WORK} {_CHANGE} {_END}", ""),
    S.ACCEPTED: (f"accepted accepted_for_bidding pending_review {_WORK} {_CHANGE} {_END}", "pending_new"),
    S.ACCEPTED_FOR_BIDDING: (
        f"accepted accepted_for_bidding {_WORK} {_CHANGE} {_END}",
        "pending_new pending_review",
    ),
    S.HELD: (f"pending_new accepted {_WORK} {_CHANGE} {_END}", ""),
    S.NEW: (f"{_WORK} {_CHANGE} {_END}", _BIRTH),
    S.PARTIALLY_FILLED: (
        f"partially_filled stopped suspended calculated done_for_day {_CHANGE} filled canceled expired replaced",
        f"{_BIRTH} new held",
    ),
    # a cancel that the venue refused shows as the status before it: that is no way back, the venue's end decides
    S.PENDING_CANCEL: (
        f"pending_cancel done_for_day {_END}",
        f"{_BIRTH} new held partially_filled stopped suspended calculated pending_replace",
    ),
    # a replace that was refused does go back to work
    S.PENDING_REPLACE: (f"{_CHANGE} new held partially_filled done_for_day {_END}", _BIRTH),
    S.DONE_FOR_DAY: (
        f"done_for_day accepted new held partially_filled calculated {_CHANGE} {_END}",
        "pending_new",
    ),
    S.STOPPED: (f"stopped partially_filled calculated {_CHANGE} {_END}", f"{_BIRTH} new held"),
    S.SUSPENDED: (f"suspended new held partially_filled {_CHANGE} {_END}", _BIRTH),
    S.CALCULATED: (f"calculated {_END}", f"{_BIRTH} new held partially_filled done_for_day"),
    # nothing follows an end, except that a fill may overtake the report of a cancel, an expiry or a replacement
    S.FILLED: ("filled", f"{_BIRTH} {_WORK} {_CHANGE} canceled expired"),
    S.CANCELED: ("canceled filled", f"{_BIRTH} {_WORK} {_CHANGE} expired"),
    S.EXPIRED: ("expired filled", f"{_BIRTH} {_WORK} {_CHANGE} canceled"),
    S.REPLACED: ("replaced filled", f"{_BIRTH} {_WORK} {_CHANGE} canceled"),
    # an order we took for refused or lost may turn out to exist: then the venue's word counts
    S.REJECTED: (f"{_BIRTH} {_WORK} {_CHANGE} {_END}", ""),
}

TABLE: dict[tuple[S, S], S | None] = {}
for _held, (_moves, _late) in _ROWS.items():
    for _word in _moves.split():
        TABLE[_held, S(_word)] = S(_word)
    for _word in _late.split():
        TABLE[_held, S(_word)] = STALE


class UnknownArcError(ValueError):
    """A report that no known behaviour of the venue explains."""


def next_status(held: S, reported: S | None, text: str) -> S | None:
    """Return the status after a report, None where the report is only late news.

    Raises:
        UnknownArcError: the arc is not in the table, or `reported` is None (a word we do not know: `text`).
    """
    if reported is None:
        raise UnknownArcError(f"the venue reports the unknown status {text!r}")
    try:
        return TABLE[held, reported]
    except KeyError:
        raise UnknownArcError(f"an order that is {held} is reported {reported}") from None
