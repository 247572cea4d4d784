"""What the venue's answer to a request means: one table, by kind of request, HTTP status, code and words.

Owns the reading of an answer, and what follows from it in a sentence (`RULES`). May not act on it. The one idea: an
answer is a yes, a no, or neither; only a no is proof that nothing happened, and everything that is not in the table by
name falls into one of three rows at its end. The words are the venue's own and may change without notice: then a row
is missed and the general one holds, which is slower and never less safe.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hands.core.events import RequestAnswered, RequestKind


class Meaning(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"
    NEITHER = "neither"
    EXISTS = "exists"
    PAUSE = "pause"
    THROUGH_STOP = "through the stop"
    THROUGH_TARGET = "through the target"
    SETTLING = "settling"
    UNCHANGED = "unchanged"
    OVERTAKEN = "overtaken"
    DENIED = "denied"


_ANY = frozenset(RequestKind)
_SUBMIT, _REPLACE = frozenset({RequestKind.SUBMIT}), frozenset({RequestKind.REPLACE})
_CANCEL, _QUERY = frozenset({RequestKind.CANCEL}), frozenset({RequestKind.QUERY})
_ORDERS = _SUBMIT | _REPLACE


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row: it holds where kind, status (`least`..`most`), code (None: any) and words all fit."""

    kinds: frozenset[RequestKind]
    least: int
    most: int
    meaning: Meaning
    follows: str
    words: str = ""
    code: int | None = None

    def holds(self, kind: RequestKind, status: int, code: int | None, message: str) -> bool:
        return (
            kind in self.kinds
            and self.least <= status <= self.most
            and self.code in (None, code)
            and self.words in message
        )


def _row(
    kinds: frozenset[RequestKind], status: int | tuple[int, int], words: str, meaning: Meaning, follows: str
) -> Rule:
    least, most = status if isinstance(status, tuple) else (status, status)
    return Rule(kinds=kinds, least=least, most=most, words=words, meaning=meaning, follows=follows)


_4XX, _5XX = (400, 499), (500, 599)

RULES: tuple[Rule, ...] = (
    _row(_ANY, (200, 299), "", Meaning.TAKEN, "what it says of the order is merged"),
    _row(_ANY, 429, "", Meaning.PAUSE,
         "nothing was done; entries pause for Retry-After, what protects is sent again after its own pause"),
    _row(_ANY, 408, "", Meaning.NEITHER, "unknown: asked for by its id"),
    _row(_ANY, 425, "", Meaning.NEITHER, "unknown: asked for by its id"),
    _row(_ANY, _5XX, "", Meaning.NEITHER, "unknown: asked for by its id; an exit is sent again under the same id"),
    _row(_ORDERS, _4XX, "client_order_id must be unique", Meaning.EXISTS,
         "an order of this id is there: it is asked for, and never sent under another"),
    _row(_ORDERS, _4XX, "than current price", Meaning.THROUGH_STOP, "the position is closed"),
    _row(_ORDERS, _4XX, "stop_loss.stop_price must be", Meaning.THROUGH_STOP, "the position is closed"),
    _row(_ORDERS, _4XX, "take_profit.limit_price must be", Meaning.THROUGH_TARGET, "the position is closed"),
    _row(_SUBMIT, _4XX, "must be exit orders", Meaning.SETTLING, "tried again while the books settle, then an exit"),
    _row(_SUBMIT, _4XX, "insufficient", Meaning.SETTLING,
         "tried again for what the venue says is available; the venue's truth is asked for"),
    _row(_REPLACE, _4XX, "parameters are not changed", Meaning.UNCHANGED, "the order stands where it is wanted"),
    _row(_REPLACE, _4XX, "cannot replace order in", Meaning.OVERTAKEN, "both orders are asked for, then tried again"),
    _row(_REPLACE, _4XX, "already replaced", Meaning.OVERTAKEN, "both orders are asked for, then tried again"),
    _row(_REPLACE, _4XX, "already pending replacement", Meaning.OVERTAKEN,
         "both orders are asked for, then tried again"),
    _row(_REPLACE, _4XX, "chain not fully replaced", Meaning.OVERTAKEN,
         "both orders are asked for, then tried again"),
    _row(_REPLACE, _4XX, "order is not open", Meaning.OVERTAKEN, "both orders are asked for, then tried again"),
    _row(_REPLACE, _4XX, "qty must be > filled_qty", Meaning.OVERTAKEN,
         "both orders are asked for, then tried again"),
    _row(_REPLACE, 404, "", Meaning.OVERTAKEN, "both orders are asked for, then tried again"),
    _row(_CANCEL, 404, "", Meaning.OVERTAKEN, "it is asked for at once: it may be over"),
    _row(_CANCEL, 422, "", Meaning.OVERTAKEN, "it is asked for at once: it may be over"),
    _row(_QUERY, 404, "", Meaning.DENIED, "three denials of an order it had acknowledged are believed"),
    _row(_ANY, _4XX, "", Meaning.REFUSED, "nothing was done; what protects is tried again, ever less often"),
)  # fmt: skip
"""Every answer's meaning and what follows; the first row that holds counts."""


def meaning(kind: RequestKind, status: int, code: int | None, message: str) -> Meaning:
    """Return what an answer means; what no row speaks of (1xx, 3xx) is neither a yes nor a no."""
    for rule in RULES:
        if rule.holds(kind, status, code, message):
            return rule.meaning
    return Meaning.NEITHER


def meaning_of(event: RequestAnswered) -> Meaning:
    """Return what an answer means."""
    return meaning(event.kind, event.status, event.code, event.message)
