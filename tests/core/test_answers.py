"""The table of the venue's answers: every row, by an answer that only it can explain, and what it leads to."""

from __future__ import annotations

import pytest

from hands.core.answers import RULES, Meaning, meaning
from hands.core.events import RequestKind

SUBMIT, CANCEL, QUERY, REPLACE = (
    RequestKind.SUBMIT,
    RequestKind.CANCEL,
    RequestKind.QUERY,
    RequestKind.REPLACE,
)

ANSWERS: list[tuple[RequestKind, int, int | None, str, Meaning]] = [
    (SUBMIT, 200, None, "", Meaning.TAKEN),
    (CANCEL, 204, None, "", Meaning.TAKEN),
    (REPLACE, 200, None, "", Meaning.TAKEN),
    (SUBMIT, 429, 42910000, "rate limit exceeded", Meaning.PAUSE),
    (CANCEL, 429, None, "<html>", Meaning.PAUSE),
    (REPLACE, 429, None, "", Meaning.PAUSE),
    (QUERY, 429, None, "", Meaning.PAUSE),
    (SUBMIT, 408, None, "", Meaning.NEITHER),
    (SUBMIT, 425, None, "", Meaning.NEITHER),
    (SUBMIT, 500, None, "", Meaning.NEITHER),
    (CANCEL, 504, None, "", Meaning.NEITHER),
    (REPLACE, 503, None, "unavailable", Meaning.NEITHER),
    (SUBMIT, 302, None, "", Meaning.NEITHER),
    (SUBMIT, 422, 40010001, "client_order_id must be unique", Meaning.EXISTS),
    (SUBMIT, 422, 42210000, "client_order_id must be unique", Meaning.EXISTS),
    (REPLACE, 422, 42210000, "client_order_id must be unique", Meaning.EXISTS),
    (SUBMIT, 422, 42210000, "stop price must be less than current price", Meaning.THROUGH_STOP),
    (REPLACE, 422, 42210000, "stop price must be greater than current price", Meaning.THROUGH_STOP),
    (SUBMIT, 422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01", Meaning.THROUGH_STOP),
    (SUBMIT, 422, 42210000, "take_profit.limit_price must be >= base_price + 0.01", Meaning.THROUGH_TARGET),
    (SUBMIT, 422, 42210000, "oco orders must be exit orders", Meaning.SETTLING),
    (SUBMIT, 403, 40310000, "insufficient qty available for order (requested: 1, available: 0)", Meaning.SETTLING),
    (SUBMIT, 403, 40310000, "insufficient balance for SOL (requested: 2, available: 1)", Meaning.SETTLING),
    (REPLACE, 422, 42210000, "order parameters are not changed", Meaning.UNCHANGED),
    (REPLACE, 422, 42210000, "cannot replace order in accepted status", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "cannot replace order in pending_cancel status", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "order already replaced", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "order already pending replacement", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "order chain not fully replaced", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "unable to replace order, order is not open", Meaning.OVERTAKEN),
    (REPLACE, 422, 42210000, "qty must be > filled_qty", Meaning.OVERTAKEN),
    (REPLACE, 404, 40410000, "order not found for x", Meaning.OVERTAKEN),
    (CANCEL, 404, 40410000, "order not found for x", Meaning.OVERTAKEN),
    (CANCEL, 422, 42210000, 'order is already in "filled" state', Meaning.OVERTAKEN),
    (QUERY, 404, 40410000, "order not found for x", Meaning.DENIED),
    (SUBMIT, 403, 40310000, "new orders are rejected by user request", Meaning.REFUSED),
    (SUBMIT, 403, 40310000, "potential wash trade detected. use complex orders", Meaning.REFUSED),
    (SUBMIT, 401, None, "unauthorized.", Meaning.REFUSED),
    (SUBMIT, 404, 40410000, "asset not found for X", Meaning.REFUSED),
    (REPLACE, 403, None, "forbidden.", Meaning.REFUSED),
    (REPLACE, 422, None, "oto orders cannot be replaced", Meaning.REFUSED),
    (CANCEL, 403, None, "forbidden.", Meaning.REFUSED),
    (QUERY, 401, None, "unauthorized.", Meaning.REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "code", "message", "wanted"), ANSWERS)
def test_an_answer_means_what_its_row_says(
    kind: RequestKind, status: int, code: int | None, message: str, wanted: Meaning
) -> None:
    assert meaning(kind, status, code, message) is wanted


def test_every_row_decides_some_answer() -> None:
    """A row behind a more general one would never be read."""
    used = {
        next((n for n, rule in enumerate(RULES) if rule.holds(*answer[:4])), None) for answer in ANSWERS
    } - {None}
    assert used == set(range(len(RULES)))


def test_only_a_no_is_proof() -> None:
    """Whatever is said with a 5xx, a timeout or a redirect: it is neither a yes nor a no."""
    for kind in RequestKind:
        for status in (100, 301, 408, 425, 500, 502, 503, 504, 599):
            for _, _, code, message, _ in ANSWERS:
                assert meaning(kind, status, code, message) is Meaning.NEITHER


def test_every_row_says_what_follows() -> None:
    assert all(rule.follows and rule.least <= rule.most for rule in RULES)
