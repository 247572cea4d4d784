"""What we write to the venue: order bodies and request paths.

Owns the spelling of every trading request. Pure: the same order gives the same bytes, which is what lets a
re-executed session be compared byte for byte. Prices and quantities leave as decimal *text*, exact to the
last digit; a float here could round a stop to the wrong side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import decimal_text
from hands.core.vocab import AssetClass, OrderClass, OrderType, PositionIntent, Side

ORDERS_PATH = "/v2/orders"
ACCOUNT_PATH = "/v2/account"
POSITIONS_PATH = "/v2/positions"
CLOCK_PATH = "/v2/clock"

FILLS_PATH = "/v2/account/activities/FILL"

FILLS_PAGE_LIMIT = 100
"""The most activities the venue returns at once."""

PAGE_LIMIT = 500
"""The most orders the venue returns at once."""


class Wire(NamedTuple):
    """One request as it leaves, without its headers."""

    method: str
    path: str
    body: bytes = b""

    @property
    def text(self) -> bytes:
        """Method and path, and in the next line the body: how the record keeps it."""
        return b"%s %s\n%s" % (self.method.encode(), self.path.encode(), self.body)


def submit_wire(order: ApprovedEntry | ReducingOrder, *, close_intent: bool = True) -> Wire:
    """Return the request that submits `order`."""
    return Wire("POST", ORDERS_PATH, submit_body(order, close_intent=close_intent))


def cancel_wire(command: CancelOrder) -> Wire:
    """Return the request that cancels an order."""
    return Wire("DELETE", order_path(command.order_id))


def replace_wire(command: ReplaceOrder) -> Wire:
    """Return the request that moves an order."""
    return Wire("PATCH", order_path(command.order_id), replace_body(command))


def query_wire(command: QueryOrder) -> Wire:
    """Return the request that asks for an order by our id."""
    return Wire("GET", query_path(command.client_order_id))


def submit_body(order: ApprovedEntry | ReducingOrder, *, close_intent: bool = True) -> bytes:
    """Return the JSON body that submits `order`; `close_intent` marks equity exits as close-only."""
    if isinstance(order, ApprovedEntry):
        return orjson.dumps(_entry_fields(order))
    return orjson.dumps(_reducing_fields(order, close_intent=close_intent))


def _entry_fields(order: ApprovedEntry) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": decimal_text(order.qty),
        "side": order.side,
        "type": OrderType.LIMIT,
        "time_in_force": order.time_in_force,
        "limit_price": decimal_text(order.limit_price),
        "client_order_id": order.client_order_id,
    }
    if order.order_class is not OrderClass.SIMPLE:
        fields["order_class"] = order.order_class
    if order.take_profit is not None:
        fields["take_profit"] = {"limit_price": decimal_text(order.take_profit)}
    if order.stop_loss is not None:
        fields["stop_loss"] = {"stop_price": decimal_text(order.stop_loss)}
    return fields


def _reducing_fields(order: ReducingOrder, *, close_intent: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": decimal_text(order.qty),
        "side": order.side,
        "type": order.order_type,
        "time_in_force": order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    if order.order_class is OrderClass.OCO:
        assert order.take_profit is not None, "an OCO exit has a target"
        assert order.stop_price is not None, "an OCO exit has a stop"
        # The venue takes both prices from the legs; at the top level they are refused.
        fields["type"] = OrderType.LIMIT
        fields["order_class"] = OrderClass.OCO
        fields["take_profit"] = {"limit_price": decimal_text(order.take_profit)}
        fields["stop_loss"] = {"stop_price": decimal_text(order.stop_price)}
    else:
        if order.limit_price is not None:
            fields["limit_price"] = decimal_text(order.limit_price)
        if order.stop_price is not None:
            fields["stop_price"] = decimal_text(order.stop_price)
    if close_intent and order.asset_class is AssetClass.EQUITY:
        sells = order.side is Side.SELL
        fields["position_intent"] = PositionIntent.SELL_TO_CLOSE if sells else PositionIntent.BUY_TO_CLOSE
    return fields


def replace_body(command: ReplaceOrder) -> bytes:
    """Return the JSON body that moves an order to other prices; what it leaves out stays as it is."""
    fields: dict[str, Any] = {}
    if command.limit_price is not None:
        fields["limit_price"] = decimal_text(command.limit_price)
    if command.stop_price is not None:
        fields["stop_price"] = decimal_text(command.stop_price)
    fields["client_order_id"] = command.new_client_order_id
    return orjson.dumps(fields)


def order_path(order_id: str) -> str:
    """Return the path of one order by the venue's id: DELETE cancels it, PATCH replaces it."""
    return f"{ORDERS_PATH}/{quote(order_id, safe='')}"


def nested_order_path(order_id: str) -> str:
    """Return the path that reads one order with its legs."""
    return f"{order_path(order_id)}?nested=true"


def query_path(client_order_id: str) -> str:
    """Return the path that reads one order by our id; the venue may leave its legs out."""
    return f"{ORDERS_PATH}:by_client_order_id?{urlencode({'client_order_id': client_order_id})}"


def open_orders_path(after_order_id: str | None = None) -> str:
    """Return the path of a page of open orders with their legs, oldest first, after an order of the last page."""
    fields = {"status": "open", "limit": str(PAGE_LIMIT), "nested": "true", "direction": "asc"}
    if after_order_id is not None:
        fields["after_order_id"] = after_order_id
    return f"{ORDERS_PATH}?{urlencode(fields)}"


def orders_since_path(after: str) -> str:
    """Return the path of a page of all orders with their legs, oldest first, sent later than `after` (RFC 3339)."""
    fields = {"status": "all", "limit": str(PAGE_LIMIT), "nested": "true", "direction": "asc", "after": after}
    return f"{ORDERS_PATH}?{urlencode(fields)}"


def orders_of_path(symbols: Iterable[str]) -> str:
    """Return the path of the newest orders of some symbols, whatever became of them, with their legs."""
    fields = {"status": "all", "limit": str(PAGE_LIMIT), "nested": "true", "direction": "desc"}
    return f"{ORDERS_PATH}?{urlencode(fields | {'symbols': ','.join(symbols)})}"


def fills_path(after: str, page_token: str | None = None) -> str:
    """Return the path of a page of fills, oldest first, later than `after` (RFC 3339), and after an item's id."""
    fields = {"after": after, "direction": "asc", "page_size": str(FILLS_PAGE_LIMIT)}
    if page_token is not None:
        fields["page_token"] = page_token
    return f"{FILLS_PATH}?{urlencode(fields)}"


def asset_path(symbol: str) -> str:
    """Return the path of one asset; a pair's slash must be escaped ("BTC%2FUSD")."""
    return f"/v2/assets/{quote(symbol, safe='')}"


def calendar_path(first: str, last: str) -> str:
    """Return the path of the trading calendar from one day to another (YYYY-MM-DD, New York)."""
    return f"/v2/calendar?{urlencode({'start': first, 'end': last})}"


def latest_equity_quote_path(symbol: str, feed: str) -> str:
    """Return the data path of an equity's latest quote on `feed`."""
    return f"/v2/stocks/{quote(symbol, safe='')}/quotes/latest?{urlencode({'feed': feed})}"


def latest_crypto_quote_path(symbol: str) -> str:
    """Return the data path of a pair's latest quote."""
    return f"/v1beta3/crypto/us/latest/quotes?{urlencode({'symbols': symbol})}"
