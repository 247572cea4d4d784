"""From REST bodies and queries to requests: what a client wrote, read exactly.

Owns the reading of JSON numbers (through their text, never through a float), of enumerations and of query
parameters; raises the venue's own refusals. Judging what was read is admission's.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from hands.core.units import NANO, NumberError, Price, Qty, Ratio, Usd, floor_to, nano_truncated
from hands.core.vocab import OrderClass, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.market.times import time_ns
from hands.sim.server.answers import read_json
from hands.sim.venue import errors
from hands.sim.venue.orders import OrderRequest, ReplaceRequest
from hands.sim.venue.quirks import Quirks

EnumT = TypeVar("EnumT", bound=StrEnum)


def read_body(raw: bytes) -> dict[str, Any]:
    """Return a JSON object with its fractions as `Decimal`. Raises `VenueError` 400."""
    try:
        document = read_json(raw)
    except ValueError as error:
        raise errors.VenueError(400, 40010000, "request body format is invalid") from error
    if not isinstance(document, dict):
        raise errors.VenueError(400, 40010000, "request body format is invalid")
    return document


def read_amount(document: Mapping[str, Any], key: str, name: str | None = None) -> int | None:
    """Return a JSON number or numeric string in nano-units, digits beyond the ninth cut; None if absent."""
    value = document.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise errors.parameter(f"{name or key} is invalid")
    try:
        return nano_truncated(str(value))
    except (NumberError, ValueError) as error:
        raise errors.parameter(f"{name or key} is invalid") from error


def _price(document: Mapping[str, Any], key: str, name: str | None = None) -> Price | None:
    value = read_amount(document, key, name)
    return None if value is None else Price(value)


def _choice(kind: type[EnumT], value: Any, message: str) -> EnumT:
    if not isinstance(value, str):
        raise errors.parameter(message)
    try:
        return kind(value)
    except ValueError as error:
        raise errors.parameter(message) from error


def _text(document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise errors.parameter(f"{key} is invalid")
    return value


def _section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.parameter(f"{key} is invalid")
    return value


def order_request(document: Mapping[str, Any]) -> OrderRequest:
    """Return the order a POST body asks for. Raises `VenueError`."""
    symbol = _text(document, "symbol")
    if symbol is None:
        raise errors.parameter("symbol is required")
    qty, notional = read_amount(document, "qty"), read_amount(document, "notional")
    if qty is None and notional is None:
        raise errors.parameter("qty or notional is required")
    if qty is not None and qty <= 0:
        raise errors.parameter("qty must be > 0")
    profit, stop = _section(document, "take_profit"), _section(document, "stop_loss")
    intent, percent = _text(document, "position_intent"), read_amount(document, "trail_percent")
    extended = document.get("extended_hours") or False
    if not isinstance(extended, bool):
        raise errors.parameter("extended_hours is invalid")
    return OrderRequest(
        symbol=symbol,
        side=_choice(Side, document.get("side"), "invalid side"),
        order_type=_choice(OrderType, document.get("type"), "invalid order type"),
        tif=_choice(TimeInForce, document.get("time_in_force"), "invalid time_in_force"),
        qty=Qty(qty or 0),
        notional=None if notional is None else Usd(notional),
        limit_price=_price(document, "limit_price"),
        stop_price=_price(document, "stop_price"),
        trail_price=_price(document, "trail_price"),
        trail_percent=None if percent is None else Ratio(percent),
        order_class=_choice(OrderClass, document.get("order_class") or "simple", "invalid order_class"),
        take_profit_limit_price=_price(profit, "limit_price", "take_profit.limit_price"),
        stop_loss_stop_price=_price(stop, "stop_price", "stop_loss.stop_price"),
        stop_loss_limit_price=_price(stop, "limit_price", "stop_loss.limit_price"),
        client_order_id=_text(document, "client_order_id"),
        extended_hours=extended,
        position_intent=None
        if intent is None
        else _choice(PositionIntent, intent, "invalid position_intent"),
    )


def replace_request(document: Mapping[str, Any]) -> ReplaceRequest:
    """Return the changes a PATCH body asks for. Raises `VenueError`."""
    qty, trail = read_amount(document, "qty"), read_amount(document, "trail")
    tif = document.get("time_in_force")
    if document.get("notional") is not None:
        # Documented: only orders for a public offering take one, and there are none here. The wording is unconfirmed.
        raise errors.parameter("notional is only accepted for ipo orders")
    return ReplaceRequest(
        qty=None if qty is None else Qty(qty),
        limit_price=_price(document, "limit_price"),
        stop_price=_price(document, "stop_price"),
        tif=None if tif is None else _choice(TimeInForce, tif, "invalid time_in_force"),
        trail=None if trail is None else Ratio(trail),
        client_order_id=_text(document, "client_order_id"),
    )


def read_order_id(text: str, quirks: Quirks) -> str:
    """Return a path's order id in canonical form. Raises `VenueError`; which status is unconfirmed."""
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        if quirks.malformed_order_id == "404":
            raise errors.order_not_found(text) from error
        raise errors.parameter("order_id is missing") from error


def read_count(query: Mapping[str, str], key: str, default: int, most: int) -> int:
    """Return a whole number from 1 to `most`. Raises `VenueError` 422."""
    text = query.get(key)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or not 1 <= int(text) <= most:
        raise errors.parameter(f"{key} must be from 1 to {most}")
    return int(text)


def read_choice(query: Mapping[str, str], key: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of `allowed`. Raises `VenueError` 422."""
    value = query.get(key, default)
    if value not in allowed:
        raise errors.parameter(f"invalid {key}: {value}")
    return value


def read_flag(query: Mapping[str, str], key: str) -> bool:
    """Return a boolean of a query; absent is False."""
    return query.get(key, "").lower() in {"true", "1"}


def with_offset(text: str) -> str:
    """Return a time of a query as it was meant: an unescaped "+" of its offset arrives as a blank."""
    return text[:19] + text[19:].replace(" ", "+")


def read_time_ns(query: Mapping[str, str], key: str) -> int | None:
    """Return a date or RFC 3339 time of a query as Unix nanoseconds; None if absent. Raises `VenueError` 422."""
    text = query.get(key)
    if text is None:
        return None
    try:
        return time_ns(with_offset(text))
    except ValueError as error:
        raise errors.parameter(f"invalid {key}: {text}") from error


def read_date(query: Mapping[str, str], key: str, default: dt.date) -> dt.date:
    """Return a date of a query. Raises `VenueError` 422."""
    text = query.get(key)
    if text is None:
        return default
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError as error:
        raise errors.parameter(f"invalid {key}: {text}") from error


def closing_qty(query: Mapping[str, str], held: int, *, is_crypto: bool) -> Qty | None:
    """Return how much of a holding of `held` a DELETE asks to close; None is all of it. Raises `VenueError`."""
    qty, percentage = read_amount(query, "qty"), read_amount(query, "percentage")
    if qty is not None and percentage is not None:
        raise errors.parameter("only one of qty or percentage is accepted")
    if qty is not None:
        return Qty(qty)
    if percentage is None:
        return None
    if not 0 < percentage <= 100 * NANO:
        raise errors.parameter("percentage must be between 0 and 100")
    share = abs(held) * percentage // (100 * NANO)
    # A part of a whole number of shares is a whole number of shares.
    return Qty(share if held % NANO or is_crypto else floor_to(share, NANO))
