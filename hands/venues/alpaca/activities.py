"""The venue's list of fills, as the core's words.

Owns the reading of `GET /v2/account/activities/FILL`. Pure. The id of a fill is its New York time and, behind "::", a
UUID that was seen to be the trade stream's execution id; which of both it is, is for the core to doubt.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from hands.core.events import VenueFill
from hands.core.units import Ns, NumberError, Price, Qty, nano_truncated
from hands.venues.alpaca.decode import DecodeError, shown
from hands.venues.alpaca.timestamps import parse_rfc3339


class Row(NamedTuple):
    """A fill and the id by which the list goes on after it."""

    id: str
    fill: VenueFill


class _Activity(msgspec.Struct, frozen=True):
    """What is needed of an item; the venue writes numbers as text, and could write them as numbers."""

    id: str
    activity_type: str
    order_id: str
    qty: Decimal
    price: Decimal
    cum_qty: Decimal
    transaction_time: str


_ROWS = msgspec.json.Decoder(list[_Activity])


def decode_fills(data: bytes) -> list[Row]:
    """Return the fills of a list response. Raises `DecodeError`."""
    try:
        return [_row(item) for item in _ROWS.decode(data)]
    except (msgspec.MsgspecError, NumberError, ValueError, RecursionError) as error:
        raise DecodeError(f"{shown(data)} is no list of fills: {error}") from None


def _row(item: _Activity) -> Row:
    if item.activity_type != "FILL":
        raise ValueError(f"an activity of type {item.activity_type!r} among the fills")
    _, _, execution_id = item.id.rpartition("::")
    fill = VenueFill(
        execution_id=execution_id,
        order_id=item.order_id,
        qty=Qty(nano_truncated(str(item.qty))),
        price=Price(nano_truncated(str(item.price))),
        cum_qty=Qty(nano_truncated(str(item.cum_qty))),
        at_ns=Ns(parse_rfc3339(item.transaction_time)),
    )
    return Row(item.id, fill)
