"""The words: every closed set of names that crosses a boundary, spelled once.

Owns enumerations only; no behaviour beyond what a name means. Values are the exact strings of the venue's
wire or of the product's contract. *denied* = the guardian said no, *rejected* in code = the venue said no,
*refused* = not parseable; receipts use the contract's verdict words.
"""

from __future__ import annotations

from enum import StrEnum


class AssetClass(StrEnum):
    EQUITY = "us_equity"
    CRYPTO = "crypto"


class Direction(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class OrderClass(StrEnum):
    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"


class PositionIntent(StrEnum):
    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


class OrderStatus(StrEnum):
    """The venue's order statuses (FIX 39), plus `unsent` and `unknown`, which only ours can be in."""

    UNSENT = "unsent"
    UNKNOWN = "unknown"
    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REPLACED = "replaced"
    REJECTED = "rejected"
    DONE_FOR_DAY = "done_for_day"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    PENDING_REVIEW = "pending_review"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REPLACED,
        OrderStatus.REJECTED,
    }
)


class Leg(StrEnum):
    """What an order is to its trade."""

    ENTRY = "entry"
    TAKE_PROFIT = "tp"
    STOP_LOSS = "sl"
    EXIT = "exit"


class Venue(StrEnum):
    SIM = "sim"
    PAPER = "paper"
    LIVE = "live"


class Verdict(StrEnum):
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    REFUSED = "REFUSED"


class TradeState(StrEnum):
    """The receipt's `state`: where a document's business stands."""

    ARMED = "ARMED"
    PENDING_APPROVAL = "PENDING_APPROVAL"
    DRAFT = "DRAFT"
    WORKING = "WORKING"
    UNKNOWN = "UNKNOWN"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    VENUE_REJECTED = "VENUE_REJECTED"
    FROZEN = "FROZEN"
    REJECTED = "REJECTED"
    REFUSED = "REFUSED"
    DONE = "DONE"


class TradingState(StrEnum):
    """What Hands may do now; the worst of its reasons."""

    ACTIVE = "ACTIVE"
    REDUCE_ONLY = "REDUCE_ONLY"
    HALTED = "HALTED"


class ExitReason(StrEnum):
    TAKE_PROFIT = "TP"
    STOP_LOSS = "SL"
    TIME = "TIME"
    MANUAL = "MANUAL"
    HALT = "HALT"
    LIQUIDATED = "LIQUIDATED"


class ProtectionKind(StrEnum):
    VENUE_BRACKET = "venue_bracket"
    VENUE_OCO = "venue_oco"
    VENUE_STOP = "venue_stop"
    ENGINE_EXIT = "engine_exit"


class Retry(StrEnum):
    NEVER = "never"
    CHANGED = "changed"
    AFTER = "after"


class Code(StrEnum):
    """Every code a receipt can carry: first the refusals, then the denials in the order of their checks, last that of
    documents which change an intent."""

    OK = "OK"

    MALFORMED_JSON = "MALFORMED_JSON"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    SCHEMA = "SCHEMA"
    NOT_FINITE = "NOT_FINITE"
    TOO_LARGE = "TOO_LARGE"
    NOT_REGULAR_FILE = "NOT_REGULAR_FILE"
    UNAUTHORISED = "UNAUTHORISED"
    UNKNOWN_AGENT = "UNKNOWN_AGENT"

    AGENT_LATCHED = "AGENT_LATCHED"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"
    EXPIRED = "EXPIRED"
    FUTURE_TIMESTAMP = "FUTURE_TIMESTAMP"
    TTL_TOO_LONG = "TTL_TOO_LONG"
    HALTED = "HALTED"
    NOT_READY = "NOT_READY"
    REDUCE_ONLY = "REDUCE_ONLY"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    ASSET_NOT_TRADABLE = "ASSET_NOT_TRADABLE"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    LONG_NOT_ALLOWED = "LONG_NOT_ALLOWED"
    CONFIDENCE_TOO_LOW = "CONFIDENCE_TOO_LOW"
    BRACKET_GEOMETRY = "BRACKET_GEOMETRY"
    SESSION_CLOSED = "SESSION_CLOSED"
    NO_MARKET_DATA = "NO_MARKET_DATA"
    STALE_MARKET_DATA = "STALE_MARKET_DATA"
    SPREAD_TOO_WIDE = "SPREAD_TOO_WIDE"
    PRICE_COLLAR = "PRICE_COLLAR"
    SLIPPAGE = "SLIPPAGE"
    STOP_TOO_FAR = "STOP_TOO_FAR"
    STOP_TOO_CLOSE = "STOP_TOO_CLOSE"
    REWARD_RISK_TOO_LOW = "REWARD_RISK_TOO_LOW"
    SYMBOL_BUSY = "SYMBOL_BUSY"
    SEMANTIC_DUPLICATE = "SEMANTIC_DUPLICATE"
    COOLDOWN = "COOLDOWN"
    CONCURRENT = "CONCURRENT"
    DAILY_TRADES = "DAILY_TRADES"
    DAILY_LOSS = "DAILY_LOSS"
    AGENT_BUDGET = "AGENT_BUDGET"
    ORDER_RATE = "ORDER_RATE"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    BUYING_POWER = "BUYING_POWER"
    SIZE_TOO_SMALL = "SIZE_TOO_SMALL"
    VENUE_RULE = "VENUE_RULE"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"

    NOTHING_TO_DO = "NOTHING_TO_DO"
