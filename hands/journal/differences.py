"""Differences: where two records that should be the same part, in words.

Owns the comparison of two JSON documents and the record of one difference. May not judge what a difference means. The one
idea: one is enough, the first; what comes after it follows from it.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

SHOWN_MAX: Final = 400
"""Characters of each side that are shown."""

ABSENT: Final = "(nothing)"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded at a step, and what came out when it was run again.

    `what` says which part of the step it is about, `event` what the step was, `at` where in the document the two part.
    """

    seq: int
    ts_ns: int
    kind: str
    what: str
    event: str
    at: str
    recorded: str
    again: str


def first_difference(recorded: bytes, again: bytes) -> tuple[str, str, str]:
    """Return where two JSON documents part ("[2].entry.qty"), and both sides there; bytes that are no JSON as they are."""
    try:
        left, right = json.loads(recorded), json.loads(again)
    except (ValueError, RecursionError):
        return "", shown(recorded), shown(again)
    found = _walk(left, right, "")
    if found is None:  # the same values, written otherwise
        return "", shown(recorded), shown(again)
    at, one, other = found
    return at, one, other


def _walk(left: Any, right: Any, at: str) -> tuple[str, str, str] | None:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in (*left, *(key for key in right if key not in left)):
            found = _member(left, right, key, key in left, key in right, f"{at}.{key}")
            if found is not None:
                return found
        if list(left) != list(right):
            return at, shown(list(left)), shown(list(right))
        return None
    if isinstance(left, list) and isinstance(right, list):
        for n in range(max(len(left), len(right))):
            found = _member(left, right, n, n < len(left), n < len(right), f"{at}[{n}]")
            if found is not None:
                return found
        return None
    same = type(left) is type(right) and left == right
    return None if same else (at, shown(left), shown(right))


def _member(
    left: Any, right: Any, key: Any, is_left: bool, is_right: bool, at: str
) -> tuple[str, str, str] | None:
    if is_left and is_right:
        return _walk(left[key], right[key], at)
    return at, shown(left[key]) if is_left else ABSENT, shown(right[key]) if is_right else ABSENT


def shown(value: Any) -> str:
    """Return a value as one line of at most `SHOWN_MAX` characters."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"
