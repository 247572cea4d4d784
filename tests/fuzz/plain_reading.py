"""What the contract's section 3 says of a document, read as plainly as it can be: the fuzzer's second opinion.

Owns nothing of the engine and imports nothing of it. Slow and naive on purpose: `json` with its hooks, `Decimal`
throughout, one line for each rule. None means: to be refused.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AMOUNT, SECONDS, FRACTION = (
    (Decimal(0), Decimal(10**9)),
    (Decimal(0), Decimal(10**7)),
    (Decimal(0), Decimal(1)),
)
REQUIRED = {
    "intent_id", "asset", "direction", "trigger_price", "take_profit", "stop_loss", "confidence", "strategy_ref", "timestamp",
    "ttl_seconds",
}  # fmt: skip
OPTIONAL = {
    "kind", "entry", "arm_seconds", "qty", "max_hold_seconds", "trailing_stop_pct", "thesis", "context", "approval_id", "signature",
}  # fmt: skip
IDS = {"intent_id", "target_id"}
CHANGES = {
    "cancel": set(), "close": {"qty"}, "amend": {"stop_loss", "take_profit", "max_hold_seconds"},
}  # fmt: skip
IN_EVERY_CHANGE = {"timestamp", "thesis", "context", "signature"}
PRICES = {"trigger_price", "take_profit", "stop_loss"}
RANGES = {
    "trigger_price": AMOUNT, "take_profit": AMOUNT, "stop_loss": AMOUNT, "qty": AMOUNT, "ttl_seconds": SECONDS,
    "arm_seconds": SECONDS, "max_hold_seconds": SECONDS, "trailing_stop_pct": FRACTION, "confidence": FRACTION,
}  # fmt: skip
LENGTHS = {"strategy_ref": (1, 128), "thesis": (0, 4096), "approval_id": (0, 128), "signature": (0, 1024)}
WORDS = {"direction": {"LONG", "SHORT"}, "entry": {"now", "touch"}, "kind": {"intent", *CHANGES}}


class _NoError(Exception):
    pass


class _Number(str):
    """A number's own text."""

    __slots__ = ()


def plain_reading(data: bytes) -> dict[str, Any] | None:
    """Return a document's members (numbers as Decimal, `timestamp` as Unix ns), None if it is to be refused."""
    try:
        _must(len(data) <= 65_536)
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_constant,
        )
        _must(isinstance(document, dict))
        required, optional = _allowed(document.get("kind", "intent"))
        _must(set(document) >= required)
        _must(set(document) <= required | optional)
        _must(document.get("kind") != "amend" or bool(set(document) & CHANGES["amend"]))
        _must("arm_seconds" not in document or document.get("entry") == "touch")
        return {key: _member(key, value) for key, value in document.items()}
    except (_NoError, ValueError, RecursionError):
        return None


def _allowed(kind: Any) -> tuple[set[str], set[str]]:
    """Return which members a document of that kind must have, and which it may have."""
    _must(isinstance(kind, str) and not isinstance(kind, _Number))
    if kind in CHANGES:
        return IDS | {"kind"}, IN_EVERY_CHANGE | CHANGES[kind]
    return REQUIRED, OPTIONAL


def _must(holds: bool) -> None:
    if not holds:
        raise _NoError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _must(len({key for key, _ in pairs}) == len(pairs))
    return dict(pairs)


def _constant(_: str) -> None:
    raise _NoError


def _number(text: str) -> _Number:
    mantissa, _, exponent = text.lower().partition("e")
    _must(sum(c.isdigit() for c in mantissa) <= 30)
    _must(len(exponent.lstrip("+-")) <= 4)  # `1e00001` is one too, but nobody writes it
    _must(abs(int(exponent or 0)) <= 30)
    return _Number(text)


def _member(key: str, value: Any) -> Any:
    if key in RANGES:
        return _in_range(key, value)
    if key == "context":
        return _context(value)
    _must(isinstance(value, str) and not isinstance(value, _Number))
    _storable(value)
    if key in IDS:
        _must(re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", value) is not None)
    elif key == "asset":
        _must(re.fullmatch("[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?", value) is not None)
    elif key == "timestamp":
        return _unix_ns(value)
    elif key in WORDS:
        _must(value in WORDS[key])
    else:
        _must(LENGTHS[key][0] <= len(value) <= LENGTHS[key][1])
    return value


def _in_range(key: str, value: Any) -> Decimal:
    _must(isinstance(value, _Number))
    _must(not value.startswith("-"))
    number, (low, high) = Decimal(value), RANGES[key]
    _must(low <= number <= high)
    with localcontext(prec=60):
        number = number.quantize(Decimal("1e-9"), ROUND_HALF_UP if key in PRICES else ROUND_DOWN)
    _must(number > 0 or key == "confidence")
    return number


def _context(value: Any) -> dict[str, Any]:
    _must(isinstance(value, dict))
    _must(len(value) <= 64)
    for key, member in value.items():
        _must(isinstance(member, str))  # a number is one too, as its text
        _must(len(key) <= 64)
        _must(isinstance(member, _Number) or len(member) <= 256)
        _storable(key + member)
    return {key: float(member) if isinstance(member, _Number) else member for key, member in value.items()}


def _storable(text: str) -> None:
    _must("\0" not in text)
    text.encode()  # a ValueError where half of a surrogate pair is in it


def _unix_ns(text: str) -> int:
    found = re.fullmatch(r"([0-9-]{10})[Tt]([0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})", text)
    _must(found is not None)
    assert found is not None
    date, clock, fraction, offset = found.groups()
    moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    whole = (moment - EPOCH) // timedelta(seconds=1)
    return whole * 10**9 + int((fraction or "").ljust(9, "0"))
