"""The market-data feeds and what a client may subscribe to on each: pure sets and their checks.

Owns the feeds, their channels, the subscription's growth and its acknowledgement; does no I/O. The one idea: a
subscription is an immutable `Wanted`, replaced by each subscribe or unsubscribe, so it can be the key of what
was already encoded for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FAKEPACA = "FAKEPACA"
"""The symbol of the venue's test feed, and the only one on it."""

STAR = "*"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a client's market-data subscription allows: symbols of trades and quotes (None: any), the SIP feed."""

    symbols_max: int | None
    is_sip_allowed: bool


PLANS = {
    "plus": Plan(symbols_max=None, is_sip_allowed=True),
    "basic": Plan(symbols_max=30, is_sip_allowed=False),
}


class Channel(StrEnum):
    """What can be subscribed to; the values are the protocol's keys. Corrections and cancels follow the trades."""

    TRADES = "trades"
    QUOTES = "quotes"
    ORDERBOOKS = "orderbooks"
    BARS = "bars"
    UPDATED_BARS = "updatedBars"
    DAILY_BARS = "dailyBars"
    STATUSES = "statuses"
    LULDS = "lulds"
    IMBALANCES = "imbalances"


C = Channel
KNOWN_ELSEWHERE = frozenset({*Channel, "news"})
STOCK_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
CRYPTO_SYMBOL = re.compile(r"[A-Z0-9]{1,15}/[A-Z0-9]{1,10}")


def is_crypto(symbol: str) -> bool:
    return "/" in symbol


class SubscriptionError(ValueError):
    """A subscribe or unsubscribe that the venue answers with error `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Feed:
    """One endpoint: its channels, those its acknowledgement lists, and which symbols it carries."""

    path: str
    channels: tuple[Channel, ...]
    acknowledged: tuple[str, ...]
    symbol_pattern: re.Pattern[str]

    def carries(self, symbol: str) -> bool:
        """Whether the market of `symbol` is published here: the test symbol on the test feed only, alone there."""
        return (symbol == FAKEPACA) == (self is TEST) and is_crypto(symbol) == (self is CRYPTO)


_STOCK_CHANNELS = (
    C.TRADES, C.QUOTES, C.BARS, C.UPDATED_BARS, C.DAILY_BARS, C.STATUSES, C.LULDS, C.IMBALANCES,
)  # fmt: skip
# Corrections and cancellations are not subscribed to: they follow the trades.
_STOCK_ACK = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors",
)  # fmt: skip
_CRYPTO_CHANNELS = (C.TRADES, C.QUOTES, C.ORDERBOOKS, C.BARS, C.UPDATED_BARS, C.DAILY_BARS)

IEX = Feed("/v2/iex", _STOCK_CHANNELS, _STOCK_ACK, STOCK_SYMBOL)
SIP = Feed("/v2/sip", _STOCK_CHANNELS, _STOCK_ACK, STOCK_SYMBOL)
TEST = Feed("/v2/test", _STOCK_CHANNELS, ("trades", "quotes", "bars"), STOCK_SYMBOL)
CRYPTO = Feed("/v1beta3/crypto/us", _CRYPTO_CHANNELS, _CRYPTO_CHANNELS, CRYPTO_SYMBOL)
FEEDS = (IEX, SIP, TEST, CRYPTO)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What one connection has subscribed to on `feed`."""

    feed: Feed
    symbols: Mapping[Channel, frozenset[str]] = field(default_factory=dict)

    def wants(self, channel: Channel, symbol: str) -> bool:
        """Whether this connection gets `channel` of `symbol`."""
        symbols = self.symbols.get(channel)
        if not symbols or not self.feed.carries(symbol):
            return False
        return symbol in symbols or STAR in symbols

    def changed(self, request: Mapping[str, Any], *, add: bool, symbols_max: int | None) -> Wanted:
        """Return the subscription after `request` (a client's message), all of it or none.

        Raises:
            SubscriptionError: 400 not lists of symbols, 410 not a channel of this feed, 405 over `symbols_max`
                different symbols in trades and quotes.
        """
        after = dict(self.symbols)
        for key, value in request.items():
            if key == "action":
                continue
            if key not in self.feed.channels:
                raise SubscriptionError(410 if key in KNOWN_ELSEWHERE else 400)
            channel = Channel(key)
            chosen = self._chosen(value)
            had = after.get(channel, frozenset())
            after[channel] = had | chosen if add else had - chosen
        if add and symbols_max is not None:
            counted = after.get(C.TRADES, frozenset()) | after.get(C.QUOTES, frozenset())
            if STAR in counted or len(counted) > symbols_max:
                raise SubscriptionError(405)
        return Wanted(self.feed, after)

    def acknowledgement(self) -> dict[str, Any]:
        """Return the message that answers a change: the complete set, channel by channel."""
        trades = sorted(self.symbols.get(C.TRADES, ()))
        message: dict[str, Any] = {"T": "subscription"}
        for key in self.feed.acknowledged:
            follows_trades = key in {"corrections", "cancelErrors"}
            message[key] = trades if follows_trades else sorted(self.symbols.get(Channel(key), ()))
        return message

    def _chosen(self, value: object) -> frozenset[str]:
        if not isinstance(value, list):
            raise SubscriptionError(400)
        for symbol in value:
            if not isinstance(symbol, str):
                raise SubscriptionError(400)
            if symbol != STAR and not self.feed.symbol_pattern.fullmatch(symbol):
                raise SubscriptionError(400)
        return frozenset(value)
