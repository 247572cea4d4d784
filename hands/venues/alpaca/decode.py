"""What the trading side of the venue writes, as the core's words.

Owns the reading of orders, positions, accounts, assets, the clock and trade updates. Pure. The one idea: the
venue may add, omit or rename around the edges without stopping us, but a number or an identity that we act on
is either read exactly or refused with one `DecodeError` that says what was found. Numbers come from their
text (JSON text or JSON number), never through a float; digits beyond the ninth are cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from hands.core.events import (
    AccountReport,
    Asset,
    Execution,
    OrderReport,
    PositionSnapshot,
    VenueOrder,
)
from hands.core.units import NANO, Ns, NumberError, Price, Qty, Usd, nano_truncated, parse_decimal
from hands.core.vocab import AssetClass, OrderClass, OrderStatus, OrderType, Side
from hands.venues.alpaca.timestamps import parse_rfc3339

_Word = TypeVar("_Word", OrderType, OrderClass)

_JSON = msgspec.json.Decoder(float_hook=parse_decimal)
_SHOWN_MAX = 200
_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "BTC", "ETH")
_OURS_ALONE = frozenset({OrderStatus.UNSENT, OrderStatus.UNKNOWN})
_STATUSES = {str(status): status for status in OrderStatus if status not in _OURS_ALONE}
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)


class DecodeError(ValueError):
    """The venue wrote something that cannot be understood; the message says what was found."""


@dataclass(frozen=True, slots=True)
class VenueClock:
    """`GET /v2/clock`: everything in nanoseconds of the *venue's* clock."""

    timestamp_ns: Ns
    is_open: bool
    next_open_ns: Ns
    next_close_ns: Ns


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A day of the venue's calendar: New York wall times ("09:30") of the regular and of the extended session."""

    date: str
    open: str
    close: str
    session_open: str
    session_close: str


# --- symbols -----------------------------------------------------------------------------------------------


def slash_forms(symbols: Iterable[str]) -> dict[str, str]:
    """Return {"BTCUSD": "BTC/USD"} for the pairs among `symbols`: positions drop the slash."""
    return {symbol.replace("/", ""): symbol for symbol in symbols if "/" in symbol}


def _symbol(fields: Mapping[str, Any], slashes: Mapping[str, str]) -> str:
    symbol = _text(fields, "symbol")
    if "/" in symbol:
        return symbol
    known = slashes.get(symbol)
    asset_class = fields.get("asset_class") or ("" if known is None else AssetClass.CRYPTO)
    if asset_class != AssetClass.CRYPTO:
        return symbol
    if known is not None:
        return known
    for currency in _QUOTE_CURRENCIES:
        if symbol.endswith(currency) and len(symbol) > len(currency):
            return f"{symbol.removesuffix(currency)}/{currency}"
    return symbol


# --- fields ------------------------------------------------------------------------------------------------


def parse_json(data: bytes) -> Any:
    """Return the JSON document with every fractional number as an exact Decimal. Raises `DecodeError`."""
    try:
        return _JSON.decode(data)
    except (msgspec.DecodeError, NumberError, RecursionError) as error:
        raise DecodeError(f"{shown(data)} is not readable JSON: {error}") from None


def shown(data: bytes) -> str:
    """Return a short printable rendering of what the venue sent, for messages."""
    text = data[: _SHOWN_MAX * 2].decode("utf-8", "replace")
    text = "".join(letter if letter.isprintable() else " " for letter in text)[:_SHOWN_MAX]
    return repr(text) if text else "an empty body"


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError(f"{what} is {_brief(value)}, not an object")
    return value


def array(value: Any, what: str) -> list[Any]:
    """Return `value` if it is a JSON array. Raises `DecodeError`."""
    if not isinstance(value, list):
        raise DecodeError(f"{what} is {_brief(value)}, not an array")
    return value


def _brief(value: Any) -> str:
    return "absent" if value is None else repr(value)[:_SHOWN_MAX]


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise DecodeError(f"{name} is {_brief(value)}, not a text")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None or value == "" else _text(fields, name)


def _optional_nano(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool | list | dict):
        raise DecodeError(f"{name} is {_brief(value)}, not a number")
    try:
        return nano_truncated(str(value))
    except NumberError as error:
        raise DecodeError(f"{name}: {error}") from None


def _nano(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = _optional_nano(fields, name)
    if value is None:
        if default is None:
            raise DecodeError(f"{name} is absent where a number is needed")
        return default
    return value


def _optional_price(fields: Mapping[str, Any], name: str) -> Price | None:
    value = _optional_nano(fields, name)
    return None if value is None else Price(value)


def _optional_usd(fields: Mapping[str, Any], name: str) -> Usd | None:
    value = _optional_nano(fields, name)
    return None if value is None else Usd(value)


def _optional_time(fields: Mapping[str, Any], name: str) -> Ns | None:
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return parse_rfc3339(str(value))
    except ValueError as error:
        raise DecodeError(f"{name}: {error}") from None


def _time(fields: Mapping[str, Any], name: str) -> Ns:
    value = _optional_time(fields, name)
    if value is None:
        raise DecodeError(f"{name} is absent where a time is needed")
    return value


def _flag(fields: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise DecodeError(f"{name} is {_brief(value)}, not true or false")
    return value


# --- orders ------------------------------------------------------------------------------------------------


def is_multi_leg(value: Any) -> bool:
    """Whether an order is an option strategy: it has no symbol or side, and cannot be one of ours."""
    return isinstance(value, dict) and value.get("order_class") == "mleg"


def order_from(value: Any, slashes: Mapping[str, str]) -> VenueOrder:
    """Return one order object (and its legs) in the core's words.

    An unknown status gives `status` None and keeps the word in `status_text`; so does an unknown type or
    class, whose field then holds a placeholder and must not be acted on.

    Raises:
        DecodeError: an identity, the side or a quantity is missing or unreadable.
    """
    fields = _object(value, "an order")
    status_text = _text(fields, "status")
    unknown: list[str] = []
    order_type = _word(OrderType, fields.get("type") or fields.get("order_type"), OrderType.MARKET, unknown)
    order_class = _word(OrderClass, fields.get("order_class") or "simple", OrderClass.SIMPLE, unknown)
    side = _text(fields, "side")
    if side not in {Side.BUY, Side.SELL}:
        raise DecodeError(f"side is {side!r}; known are buy and sell")
    legs = fields.get("legs")
    return VenueOrder(
        order_id=_text(fields, "id"),
        client_order_id=_text(fields, "client_order_id"),
        symbol=_symbol(fields, slashes),
        side=Side(side),
        order_type=order_type,
        order_class=order_class,
        status=None if unknown else _STATUSES.get(status_text),
        status_text=" ".join([status_text, *unknown]),
        qty=Qty(_nano(fields, "qty", 0)),
        filled_qty=Qty(_nano(fields, "filled_qty", 0)),
        avg_price=_optional_price(fields, "filled_avg_price"),
        limit_price=_optional_price(fields, "limit_price"),
        stop_price=_optional_price(fields, "stop_price"),
        replaced_by=_optional_text(fields, "replaced_by"),
        replaces=_optional_text(fields, "replaces"),
        submitted_ns=_optional_time(fields, "submitted_at"),
        legs=() if legs is None else tuple(order_from(leg, slashes) for leg in array(legs, "legs")),
    )


def _word(kind: type[_Word], word: Any, placeholder: _Word, unknown: list[str]) -> _Word:
    if isinstance(word, str) and word in set(kind):
        return kind(word)
    unknown.append(f"({kind.__name__} {word!r})")
    return placeholder


def decode_order(data: bytes, slashes: Mapping[str, str]) -> VenueOrder:
    """Return the order of a response body. Raises `DecodeError`."""
    return order_from(parse_json(data), slashes)


def decode_orders(data: bytes, slashes: Mapping[str, str]) -> list[VenueOrder]:
    """Return the orders of a list response, option strategies left out. Raises `DecodeError`."""
    rows = array(parse_json(data), "the list of orders")
    return [order_from(row, slashes) for row in rows if not is_multi_leg(row)]


def order_report_from(message: Any, slashes: Mapping[str, str], ts_ns: int) -> OrderReport | None:
    """Return the `data` of one trade update; None for an option strategy, which is nobody's business here.

    Raises:
        DecodeError: the update cannot be understood, so that the order's state must be asked for.
    """
    fields = _object(message, "a trade update")
    if is_multi_leg(fields.get("order")):
        return None
    order = order_from(fields.get("order"), slashes)
    event = _text(fields, "event")
    position_qty = _optional_nano(fields, "position_qty")
    return OrderReport(
        ts_ns=Ns(ts_ns),
        event=event,
        order=order,
        execution=_execution(fields, order) if event in {"fill", "partial_fill"} else None,
        position_qty=None if position_qty is None else Qty(position_qty),
    )


def _execution(fields: Mapping[str, Any], order: VenueOrder) -> Execution:
    """Return the fill of an update; a venue that leaves its id out gets one that repeats with its repeats."""
    at_ns = _optional_time(fields, "timestamp")
    execution_id = _optional_text(fields, "execution_id")
    return Execution(
        execution_id=execution_id or f"{order.order_id}:{order.filled_qty}",
        qty=Qty(_nano(fields, "qty")),
        price=Price(_nano(fields, "price")),
        at_ns=at_ns if at_ns is not None else _time(fields, "at"),
    )


# --- account, positions, assets, session -------------------------------------------------------------------


def decode_account(data: bytes, *, asked_ns: int, ts_ns: int) -> AccountReport:
    """Return the account of a response body; fields the venue is phasing out are not needed. Raises `DecodeError`."""
    fields = _object(parse_json(data), "the account")
    cash = _nano(fields, "cash")
    buying_power = _nano(fields, "buying_power")
    return AccountReport(
        ts_ns=Ns(ts_ns),
        asked_ns=Ns(asked_ns),
        account_number=_text(fields, "account_number"),
        status=_text(fields, "status"),
        equity=Usd(_nano(fields, "equity")),
        cash=Usd(cash),
        buying_power=Usd(buying_power),
        # Where it is absent the smaller of the two is what cannot be wrong.
        non_marginable_buying_power=Usd(
            _nano(fields, "non_marginable_buying_power", max(0, min(cash, buying_power)))
        ),
        shorting_enabled=_flag(fields, "shorting_enabled"),
        # What would stop us is believed to, where the venue does not say.
        trading_blocked=_flag(fields, "trading_blocked", default=True),
        account_blocked=_flag(fields, "account_blocked", default=True),
        suspended_by_user=_flag(fields, "trade_suspended_by_user", default=True),
        crypto_status=_optional_text(fields, "crypto_status") or "",
        multiplier=_nano(fields, "multiplier", NANO) // NANO,
        last_equity=_optional_usd(fields, "last_equity"),
    )


def decode_positions(data: bytes, slashes: Mapping[str, str]) -> list[PositionSnapshot]:
    """Return the positions of a list response, short ones negative. Raises `DecodeError`."""
    return [_position(row, slashes) for row in array(parse_json(data), "the list of positions")]


def _position(value: Any, slashes: Mapping[str, str]) -> PositionSnapshot:
    fields = _object(value, "a position")
    # Whether the venue signs a short's quantity is not documented; its side is.
    sign = -1 if fields.get("side") == "short" else 1
    qty = _nano(fields, "qty")
    available = _nano(fields, "qty_available", qty)
    signed = -abs(qty) if sign < 0 else qty
    return PositionSnapshot(
        symbol=_symbol(fields, slashes),
        qty=Qty(signed),
        qty_available=Qty(-abs(available) if signed < 0 else available),
        avg_price=Price(_nano(fields, "avg_entry_price")),
    )


def decode_asset(data: bytes) -> Asset:
    """Return one asset. Equities trade in whole shares with no venue minimum. Raises `DecodeError`."""
    fields = _object(parse_json(data), "an asset")
    word = _text(fields, "class")
    if word not in set(AssetClass):
        raise DecodeError(f"an asset of class {word!r}; known are us_equity and crypto")
    asset_class = AssetClass(word)
    crypto = asset_class is AssetClass.CRYPTO
    increment = _optional_nano(fields, "price_increment") if crypto else None
    return Asset(
        symbol=_symbol({"symbol": fields.get("symbol"), "asset_class": word}, {}),
        asset_class=asset_class,
        status=_text(fields, "status"),
        tradable=_flag(fields, "tradable"),
        shortable=_flag(fields, "shortable"),
        fractionable=_flag(fields, "fractionable"),
        lot=Qty((_nano(fields, "min_trade_increment", 1) or 1) if crypto else NANO),
        min_order_qty=Qty(_nano(fields, "min_order_size", 0) if crypto else NANO),
        price_increment=Price(increment) if increment else None,
        easy_to_borrow=_easy_to_borrow(fields),
    )


def _easy_to_borrow(fields: Mapping[str, Any]) -> bool:
    """The venue says it in a word, and still in the flag that the word replaces."""
    word = _optional_text(fields, "borrow_status")
    return word == "easy_to_borrow" if word is not None else _flag(fields, "easy_to_borrow")


def decode_clock(data: bytes) -> VenueClock:
    """Return the venue's clock. Raises `DecodeError`."""
    fields = _object(parse_json(data), "the clock")
    if not isinstance(fields.get("is_open"), bool):
        raise DecodeError(f"is_open is {_brief(fields.get('is_open'))}, not true or false")
    return VenueClock(
        timestamp_ns=_time(fields, "timestamp"),
        is_open=fields["is_open"],
        next_open_ns=_time(fields, "next_open"),
        next_close_ns=_time(fields, "next_close"),
    )


def decode_calendar(data: bytes) -> list[TradingDay]:
    """Return the trading days of a calendar. Raises `DecodeError`."""
    days = (_object(day, "a trading day") for day in array(parse_json(data), "the calendar"))
    return [
        TradingDay(
            date=_text(day, "date"),
            open=_text(day, "open"),
            close=_text(day, "close"),
            session_open=_brief_time(day, "session_open", "04:00"),
            session_close=_brief_time(day, "session_close", "20:00"),
        )
        for day in days
    ]


def _brief_time(day: Mapping[str, Any], name: str, usual: str) -> str:
    """Return a wall time that the venue writes without its colon ("0400"), or leaves out."""
    text = day.get(name)
    digits = text.replace(":", "") if isinstance(text, str) else ""
    return f"{digits[:2]}:{digits[2:]}" if len(digits) == 4 and digits.isdecimal() else usual


def decode_latest_quote(data: bytes, symbol: str) -> tuple[float, float, float, float, int] | None:
    """Return (bid, ask, bid size, ask size, venue_ns) of a latest-quote response, None if it holds no quote.

    A quote of the year 1, the zero of the venue's clock, is one that was never made.

    Raises:
        DecodeError: not such a response.
    """
    fields = _object(parse_json(data), "the latest quote")
    quotes = fields.get("quotes")
    quote = quotes.get(symbol) if isinstance(quotes, dict) else fields.get("quote")
    if quote is None:
        return None
    row = _object(quote, "the quote")
    bid, ask, bid_size, ask_size = (_nano(row, name, 0) / NANO for name in ("bp", "ap", "bs", "as"))
    venue_ns = _time(row, "t")
    if venue_ns >= 2**63:
        raise DecodeError(f"t: {shown(str(row['t']).encode())} is beyond all time that a row can hold")
    return (bid, ask, bid_size, ask_size, venue_ns) if venue_ns > 0 else None


# --- errors ------------------------------------------------------------------------------------------------


def decode_error(data: bytes) -> tuple[int | None, str, dict[str, str]]:
    """Return (code, message, extras) of an error body; HTML, nothing or garbage give no code and a short text."""
    try:
        fields = _object(parse_json(data), "an error")
    except DecodeError:
        title = _TITLE.search(data)
        return None, shown(title.group(1)).strip("'\" ") if title else shown(data), {}
    code, message = fields.get("code"), fields.get("message")
    extras = {
        str(name)[:64]: _extra_text(value)
        for name, value in fields.items()
        if name not in {"code", "message"} and value is not None
    }
    known_code = code if isinstance(code, int) and not isinstance(code, bool) else None
    return known_code, str(message)[:500] if message is not None else "", extras


def _extra_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)[:2000]
    return str(value)[:500]
