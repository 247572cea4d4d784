"""The market-data stream of one endpoint, equities or crypto: frames in, rows out.

Owns the conversation (greeting, auth, subscription) and the watch for a connection that is open and mute. May
not interpret a price. The one idea: between the socket's bytes and `on_rows` there is no task and no queue; a
slow consumer would otherwise be cut off by the venue (407) without knowing why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from hands.core.events import AnyEvent, Link
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.frames import Control, Failure, FrameDecoder, FrameError, Subscription, Success
from hands.venues.alpaca.packed import PackedFrames
from hands.venues.alpaca.reconnect import Pace, StandingConnection

CONTENT_TYPE = "application/msgpack"

_ALREADY_AUTHENTICATED = 403
_BUSY = frozenset({406, 407})
_REFUSED = frozenset({400, 402, 405, 408, 409, 410, 411, 412, 413})


@dataclass(slots=True)
class FeedCounts:
    """What came in since the start; the last three should stay at zero."""

    frames: int = 0
    rows: int = 0
    unknown_symbols: int = 0
    malformed: int = 0
    unreadable_frames: int = 0


class MarketFeed:
    """Streams trades and quotes of `symbols`; `index` gives each its number in the market.

    `on_rows(rows, count)` gets the first `count` of `rows`, which are overwritten by the next frame. `mute_after_s`
    is how long an open connection may bring no row at all before it is taken for dead (None: as long as it likes);
    `expect_data` changes it while running.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        symbols: Sequence[str],
        index: Mapping[str, int],
        on_rows: Callable[[np.ndarray, int], None],
        deliver: Callable[[AnyEvent], None],
        clock: Callable[[], int],
        link: Link,
        *,
        mute_after_s: float | None = 60.0,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        assert symbols, "a feed without symbols"
        assert link in {Link.EQUITY_DATA, Link.CRYPTO_DATA}, "not a data link"
        self.counts = FeedCounts()
        self._mute_after_s = mute_after_s
        self._credentials = credentials
        self._symbols = sorted(set(symbols))
        self._on_rows = on_rows
        self._decoder = FrameDecoder(index)
        self._pace = pace if pace is not None else Pace()
        self._data_seen_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._connection = StandingConnection(
            endpoints.equity_stream if link is Link.EQUITY_DATA else endpoints.crypto_stream,
            link,
            clock=clock,
            deliver=deliver,
            on_open=_wait_for_greeting,
            on_message=self._take_message,
            headers={"Content-Type": CONTENT_TYPE},
            pace=self._pace,
            tls=tls,
        )

    @staticmethod
    def warm_up() -> None:
        """Compile what reads frames, or load it from the cache; for before the first connection."""
        PackedFrames.warm_up()

    async def start(self) -> None:
        """Begin to connect; returns at once. `LinkReport` follows."""
        self._connection.start()
        self._watch_for_silence()

    async def stop(self) -> None:
        """Close the connection; no row comes after this."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        await self._connection.stop()

    @property
    def is_up(self) -> bool:
        return self._connection.is_up

    def expect_data(self, within_s: float | None) -> None:
        """Take an open connection without a row for `within_s` seconds for dead from now on; None: never.

        Where any silence was allowed before, the clock starts now: the quiet of a closed market proves nothing.
        """
        if self._mute_after_s is None:
            self._data_seen_s = asyncio.get_running_loop().time()
        self._mute_after_s = within_s

    def _take_message(self, data: bytes, is_text: bool) -> None:
        del is_text  # the first byte tells the encoding
        counts = self.counts
        counts.frames += 1
        try:
            result = self._decoder.decode(data, self._connection.received_ns)
        except FrameError:
            counts.unreadable_frames += 1
            return
        counts.unknown_symbols += result.unknown_symbols
        counts.malformed += result.malformed
        if result.count:
            counts.rows += result.count
            self._data_seen_s = asyncio.get_running_loop().time()
            self._on_rows(self._decoder.rows, result.count)
        for control in result.controls:
            self._take_control(control)

    def _take_control(self, control: Control) -> None:
        match control:
            case Failure():
                self._take_failure(control)
            case Subscription():
                self._take_subscription(control)
            case Success(text="connected"):
                key, secret = self._credentials.key_id, self._credentials.secret
                self._send({"action": "auth", "key": key, "secret": secret})
            case Success(text="authenticated"):
                self._send({"action": "subscribe", "trades": self._symbols, "quotes": self._symbols})
            case Success():  # a success we did not ask for changes nothing
                pass

    def _take_failure(self, failure: Failure) -> None:
        if failure.code == _ALREADY_AUTHENTICATED:
            return
        reason = f"the venue says {failure.code} {failure.text[:200]!r}"
        if failure.code in _BUSY:
            self._connection.give_up(reason, at_least_s=self._pace.busy_s)
        elif failure.code in _REFUSED:
            self._connection.give_up(reason, at_least_s=self._pace.refused_s)
        else:
            self._connection.give_up(reason)

    def _take_subscription(self, ack: Subscription) -> None:
        """The acknowledgement lists everything; what is missing in it will never come, and is named."""
        trades, quotes = set(ack.trades), set(ack.quotes)
        granted = (trades if "*" not in trades else set(self._symbols)) & (
            quotes if "*" not in quotes else set(self._symbols)
        )
        missing = [symbol for symbol in self._symbols if symbol not in granted]
        if len(missing) == len(self._symbols):
            self._connection.give_up("the venue subscribed us to nothing", at_least_s=self._pace.refused_s)
            return
        self._data_seen_s = asyncio.get_running_loop().time()
        self._connection.declare_up(f"not subscribed: {', '.join(missing)[:500]}" if missing else "")

    def _watch_for_silence(self) -> None:
        loop = asyncio.get_running_loop()
        allowed_s = self._mute_after_s
        if allowed_s is not None and self._connection.is_up and loop.time() - self._data_seen_s > allowed_s:
            self._connection.give_up(f"connected, but without any data for {allowed_s:g} s")
        self._watch = loop.call_later(min(1.0, (allowed_s or 4.0) / 4), self._watch_for_silence)

    def _send(self, message: Mapping[str, object]) -> None:
        self._connection.send(msgspec.msgpack.encode(message), text=False)


def _wait_for_greeting() -> None:
    """Send nothing yet: an auth that overtakes the venue's greeting is lost."""
