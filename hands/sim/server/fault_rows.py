"""A fault's description, as the control document writes it, read and judged.

Owns the words: which targets, which actions for which target, which keys with which action, and the numbers' ranges.
May not install anything. Everything unknown is refused, since a misspelt fault would be a test that tests nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STREAMS: Final = ("market_data", "trade_updates")

_ONE: Final = frozenset({"on", "do", "times", "for_ms", "rate"})
REQUEST_KEYS: Final = {
    "drop_request": _ONE,
    "drop_response": _ONE,
    "delay": _ONE | {"delay_ms", "at"},
    "status": _ONE | {"status", "body"},
    "close": _ONE,
    "truncate": _ONE,
}
STREAM_KEYS: Final = {
    "disconnect": _ONE,
    "mute": _ONE,
    "duplicate": _ONE | {"copies"},
    "reorder": _ONE,
    "delay": _ONE | {"delay_ms"},
    "refuse_reconnect": _ONE,
    "replay": _ONE | {"copies"},
}
MS_MAX: Final = 3.6e6
TIMES_MAX: Final = 10**9


class FaultError(ValueError):
    """A fault's description is not one the simulator knows; the message says which word and what is allowed."""


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One thing to do to matching requests, or to the frames of a stream.

    Requests. drop_response: process, then close without answering. drop_request: close without processing. delay:
    wait `delay_ms` before the answer (`at` "response", the default) or before processing (`at` "request"). status:
    answer `status` and `body` without processing. close: process, answer, then close the connection. truncate:
    process, send half of the answer, then close.

    Streams. disconnect: drop the socket. mute: lose the frame. duplicate: send it `copies` times more. reorder: let
    the next one overtake it. delay: hold it and all behind it back for `delay_ms`. refuse_reconnect: answer the
    upgrade with 429. replay: after an order's terminal event send its whole history again, `copies` times.

    `times`: how often, None without a bound. `for_ms`: for how long. `rate`: with what probability each time.
    """

    on: str
    do: str
    document: dict[str, Any]
    times: int | None
    for_ms: float | None
    rate: float | None
    delay_ms: float = 0.0
    status: int = 500
    body: Any = None
    at: str = "response"
    copies: int = 1


def parse_fault(document: Mapping[str, Any]) -> FaultRow:
    """Return what a control document's row describes. Raises `FaultError`."""
    on, do = document.get("on"), document.get("do")
    if not isinstance(on, str) or not isinstance(do, str):
        raise FaultError("a fault needs the strings 'on' and 'do'")
    known = _keys(on, do)
    unknown = sorted(set(document) - known)
    if unknown:
        raise FaultError(f"unknown key {unknown[0]!r}; with {do!r}: {', '.join(sorted(known))}")
    for_ms = _number(document, "for_ms", 0, MS_MAX)
    rate = _number(document, "rate", 0, 1)
    # A mute without a bound lasts until reset, and so does chance; everything else without a bound happens once.
    is_bounded = for_ms is not None or rate is not None or (do == "mute" and on in STREAMS)
    delay_ms = _number(document, "delay_ms", 0, MS_MAX)
    if delay_ms is None:
        delay_ms = for_ms if do == "delay" and for_ms is not None else 0.0
    at = document.get("at", "response")
    if at not in ("request", "response"):
        raise FaultError(f"'at' is {at!r}; it is 'request' or 'response'")
    return FaultRow(
        on,
        do,
        dict(document),
        times=_whole(document, "times", 1, TIMES_MAX, None if is_bounded else 1),
        for_ms=for_ms,
        rate=rate,
        delay_ms=delay_ms,
        status=_whole(document, "status", 200, 599, 500) or 500,
        body=document.get("body"),
        at=at,
        copies=_whole(document, "copies", 1, 100, 1) or 1,
    )


def _keys(on: str, do: str) -> frozenset[str]:
    """Return the keys that may stand beside `do` on this target."""
    if on in STREAMS:
        if do == "replay" and on != "trade_updates":
            raise FaultError("only trade_updates can 'replay': market data has no order to tell again")
        if do not in STREAM_KEYS:
            raise FaultError(f"a stream cannot {do!r}; it can {', '.join(sorted(STREAM_KEYS))}")
        return STREAM_KEYS[do]
    if " /" not in on:
        raise FaultError(f"{on!r} is neither 'METHOD /path' nor one of {', '.join(STREAMS)}")
    if do not in REQUEST_KEYS:
        raise FaultError(f"a request cannot {do!r}; it can {', '.join(sorted(REQUEST_KEYS))}")
    return REQUEST_KEYS[do]


def _number(document: Mapping[str, Any], key: str, low: float, high: float) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise FaultError(f"{key!r} is {value!r}; a number from {low:g} to {high:g}")
    return float(value)


def _whole(document: Mapping[str, Any], key: str, low: int, high: int, default: int | None) -> int | None:
    value = _number(document, key, low, high)
    if value is None:
        return default
    if value % 1:
        raise FaultError(f"{key!r} is {value:g}; a whole number")
    return int(value)
