"""The market-data stream of one endpoint, equities or crypto: frames in, rows out.

Owns the conversation (greeting, auth, subscriptions), the venue's clock offset as its messages show it, and the watch
for a connection that is open and mute. May not interpret a price. The one idea: between the socket's bytes and
`on_rows` there is no task and no queue; a slow consumer would otherwise be cut off by the venue (407) without knowing why.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from hands.core.events import AnyEvent, Link, TradingStatusReport, VenueClockMeasured
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.venues.alpaca.arrivals import Arrivals
from hands.venues.alpaca.clock_offset import ClockOffset, latest_ns
from hands.venues.alpaca.endpoints import Credentials, Endpoints, Feed
from hands.venues.alpaca.frames import (
    AnyNotice,
    Control,
    Failure,
    FrameDecoder,
    FrameError,
    FrameResult,
    Subscription,
    Success,
    TradingStatus,
)
from hands.venues.alpaca.packed import PackedFrames
from hands.venues.alpaca.reconnect import Pace, StandingConnection
from hands.venues.alpaca.trading_status import is_halted

CONTENT_TYPE = "application/msgpack"
OFFSET_TOLD_NS = 5 * NS_PER_MS
"""A change of the venue's clock offset by less is not worth an event."""

SUSPECT_NS = 2 * NS_PER_S
"""A silence so long may have been a loss, however quickly it was over."""

EXCUSED_MAX = 16
"""A market that is quiet for long is asked about ever more seldom, at least once in so many times `mute_after_s`."""

WORDS_MAX = 200
"""What of the venue's words about a halt is passed on: they end up in receipts, logs and the journal."""

_ALREADY_AUTHENTICATED = 403
_BUSY = frozenset({406, 407})
_REFUSED = frozenset({400, 402, 405, 408, 409, 410, 411, 412, 413})
_NO_STATUSES = frozenset({400, 405, 409, 410})
"""What a feed may answer that has no trading statuses for us."""


@dataclass(slots=True)
class FeedCounts:
    """What came in since the start; the last three should stay at zero."""

    frames: int = 0
    rows: int = 0
    notices: int = 0
    unknown_symbols: int = 0
    malformed: int = 0
    unreadable_frames: int = 0


class MarketFeed:
    """Streams trades and quotes of `symbols`; `index` gives each its number in the market.

    `on_rows(rows, count)` gets the first `count` of `rows`, each trade once, and they are overwritten by the next frame;
    `on_notice` what the venue says beside them; `on_resumed` is told when rows come again after a silence, before them.
    `mute_after_s` is how long an open connection may bring no row at all before `on_silence` is asked to judge it (by
    default it is dropped); None: as long as it likes. `expect_data` changes it while running.

    `last_row_ns`: when the last row came, 0 before the first. `ahead_max_ns`, to be set: the most that our clock can be
    ahead of the venue's, by its own word (`ClockBound`).
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
        on_notice: Callable[[AnyNotice], None] | None = None,
        on_silence: Callable[[Link], None] | None = None,
        on_resumed: Callable[[Link], None] | None = None,
        mute_after_s: float | None = 60.0,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        assert symbols, "a feed without symbols"
        assert link in {Link.EQUITY_DATA, Link.CRYPTO_DATA}, "not a data link"
        self.counts = FeedCounts()
        self.link = link
        self.symbols = tuple(sorted(set(symbols)))
        self.up_since_ns = 0
        self._stamps_are_in_order = link is Link.CRYPTO_DATA or endpoints.feed is not Feed.SIP
        self._mute_after_s = mute_after_s
        self._credentials = credentials
        self._on_rows = on_rows
        self._on_notice = on_notice
        self._on_silence = on_silence
        self._on_resumed = on_resumed
        self._deliver = deliver
        self._clock = clock
        self._decoder = FrameDecoder(index)
        self._arrivals = Arrivals(1 + max(index.values()))
        self._pace = pace if pace is not None else Pace()
        self._clock_offset = ClockOffset()
        self._offset_told_ns: int | None = None
        self._wants_statuses = link is Link.EQUITY_DATA
        self._asked_statuses = False
        self._speaks_text = False
        self._data_seen_ns = 0
        self.last_row_ns = 0
        self.ahead_max_ns: int | None = None
        self._excused = 1
        self._watch: asyncio.TimerHandle | None = None
        self._connection = StandingConnection(
            endpoints.equity_stream if link is Link.EQUITY_DATA else endpoints.crypto_stream,
            link,
            clock=clock,
            deliver=deliver,
            on_open=self._wait_for_greeting,
            on_message=self._take_message,
            headers={"Content-Type": CONTENT_TYPE},
            pace=self._pace,
            tls=tls,
        )

    @staticmethod
    def warm_up() -> None:
        """Compile what reads frames, or load it from the cache; for before the first connection."""
        PackedFrames.warm_up()
        Arrivals.warm_up()

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

    @property
    def expects_data(self) -> bool:
        """Whether silence means anything now."""
        return self._mute_after_s is not None

    @property
    def venue_offset_ns(self) -> int:
        """The clocks' offset as far as it is known (see `ClockOffset`)."""
        return self._clock_offset.offset_ns or 0

    @property
    def heard_ns(self) -> int:
        """When the newest row came, or the connection was up; 0 before that."""
        return max(self.last_row_ns, self.up_since_ns)

    @property
    def from_future(self) -> int:
        """Rows that were left out for a stamp that cannot be."""
        return self._arrivals.from_future

    @property
    def repeated(self) -> int:
        """Trades that came twice, and were passed on once."""
        return self._arrivals.repeated

    def know(self, rows: np.ndarray) -> None:
        """Take trades as having come: what history told of may still be on its way."""
        self._arrivals.know(rows)

    def take_disordered(self) -> list[int]:
        """Return the numbers of the symbols whose trades came out of order since this was last asked.

        Only where stamps are in order by nature: on the consolidated tape several exchanges' clocks interleave, and the
        order of arrival is the tape's own.
        """
        found = self._arrivals.take_disordered()
        return found if self._stamps_are_in_order else []

    def expect_data(self, within_s: float | None) -> None:
        """Have an open connection without a row for `within_s` seconds judged from now on; None: never.

        Where any silence was allowed before, the clock starts now: the quiet of a closed market proves nothing.
        """
        if self._mute_after_s is None:
            self._data_seen_ns = self._clock()
        self._mute_after_s = within_s

    def drop(self, reason: str) -> None:
        """Give up the present connection for `reason` and make another."""
        self._connection.give_up(reason)

    def excuse(self) -> None:
        """The silence was the market's own: wait twice as long before the next is judged."""
        self._data_seen_ns = self._clock()
        self._excused = min(2 * self._excused, EXCUSED_MAX)

    # --- what comes in -----------------------------------------------------------------------------------------

    def _take_message(self, data: bytes, is_text: bool) -> None:
        self._speaks_text = is_text
        counts, recv_ns = self.counts, self._connection.received_ns
        counts.frames += 1
        try:
            result = self._decoder.decode(data, recv_ns)
        except FrameError:
            counts.unreadable_frames += 1
            return
        count = result.count
        if count:
            rows = self._decoder.rows
            if recv_ns - self.last_row_ns > SUSPECT_NS and recv_ns - self.up_since_ns > SUSPECT_NS:
                self._note_resumed()
            self._data_seen_ns = self.last_row_ns = recv_ns
            self._excused = 1
            if recv_ns >= self._clock_offset.due_ns:
                self._read_clock_offset(recv_ns, int(rows["venue_ns"][count - 1]))
            count = self._arrivals.look(rows, count, latest_ns(recv_ns, self.ahead_max_ns))
            if count:
                counts.rows += count
                self._on_rows(rows, count)
        if result.unknown_symbols or result.malformed or result.controls or result.notices:
            self._take_rest(result)

    def _note_resumed(self) -> None:
        """Rows come again after a silence that may have been a loss; what they are is not taken in yet."""
        if self._on_resumed is not None and self.is_up and self.expects_data:
            self._on_resumed(self.link)

    def _take_rest(self, result: FrameResult) -> None:
        """Take what a frame held beside rows."""
        self.counts.unknown_symbols += result.unknown_symbols
        self.counts.malformed += result.malformed
        for notice in result.notices:
            self._take_notice(notice)
        for control in result.controls:
            self._take_control(control)

    def _read_clock_offset(self, recv_ns: int, venue_ns: int) -> None:
        if not self._clock_offset.sample(recv_ns, venue_ns):
            return
        offset_ns, told_ns = self.venue_offset_ns, self._offset_told_ns
        if told_ns is None or abs(offset_ns - told_ns) >= OFFSET_TOLD_NS:
            self._offset_told_ns = offset_ns
            self._deliver(VenueClockMeasured(ts_ns=Ns(self._clock()), link=self.link, offset_ns=offset_ns))

    def _take_notice(self, notice: AnyNotice) -> None:
        self.counts.notices += 1
        if isinstance(notice, TradingStatus):
            halted = is_halted(notice.code)
            if halted is not None:
                self._deliver(_status_report(notice, halted, self._clock()))
        if self._on_notice is not None:
            self._on_notice(notice)

    # --- the conversation --------------------------------------------------------------------------------------

    def _wait_for_greeting(self) -> None:
        """Send nothing yet: an auth that overtakes the venue's greeting is lost."""
        self._asked_statuses = False

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
                self._send({"action": "subscribe", "trades": self.symbols, "quotes": self.symbols})
            case Success():  # a success we did not ask for changes nothing
                pass

    def _take_failure(self, failure: Failure) -> None:
        if failure.code == _ALREADY_AUTHENTICATED:
            return
        if self._asked_statuses and failure.code in _NO_STATUSES:
            self._wants_statuses = (
                False  # the market itself flows: not worth the connection, nor a second attempt
            )
            return
        reason = f"the venue says {failure.code} {failure.text[:200]!r}"
        if failure.code in _BUSY:
            self._connection.give_up_busy(reason)
        elif failure.code in _REFUSED:
            self._connection.give_up(reason, at_least_s=self._pace.refused_s)
        else:
            self._connection.give_up(reason)

    def _take_subscription(self, ack: Subscription) -> None:
        """The acknowledgement lists everything; what is missing in it will never come, and is named."""
        if self._connection.is_up:
            return
        trades, quotes = set(ack.trades), set(ack.quotes)
        granted = (trades if "*" not in trades else set(self.symbols)) & (
            quotes if "*" not in quotes else set(self.symbols)
        )
        missing = [symbol for symbol in self.symbols if symbol not in granted]
        if len(missing) == len(self.symbols):
            self._connection.give_up("the venue subscribed us to nothing", at_least_s=self._pace.refused_s)
            return
        self._data_seen_ns = self.up_since_ns = self._clock()
        self._connection.declare_up(f"not subscribed: {', '.join(missing)[:500]}" if missing else "")
        if self._wants_statuses:  # asked for apart: a feed that has none must not cost us the market
            self._asked_statuses = True
            self._send({"action": "subscribe", "statuses": self.symbols})

    def _watch_for_silence(self) -> None:
        allowed_s = self._mute_after_s
        if allowed_s is not None and self._connection.is_up:
            silent_s = (self._clock() - self._data_seen_ns) / NS_PER_S
            if silent_s > allowed_s * self._excused:
                self._judge_silence(silent_s)
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(min(1.0, (allowed_s or 4.0) / 4), self._watch_for_silence)

    def _judge_silence(self, silent_s: float) -> None:
        if self._on_silence is None:
            self.drop(f"connected, but without any data for {silent_s:.1f} s")
        else:
            self._on_silence(self.link)

    def _send(self, message: Mapping[str, object]) -> None:
        """Answer in the encoding that the venue speaks, which need not be the one that was asked for."""
        encode = msgspec.json.encode if self._speaks_text else msgspec.msgpack.encode
        self._connection.send(encode(message), text=self._speaks_text)


def _status_report(notice: TradingStatus[Any], halted: bool, now_ns: int) -> TradingStatusReport:
    return TradingStatusReport(
        ts_ns=Ns(now_ns),
        symbol=notice.symbol,
        halted=halted,
        venue_ns=notice.venue_ns,
        code=notice.code,
        text=notice.text[:WORDS_MAX],
        reason=" ".join(word for word in (notice.reason_code, notice.reason_text) if word)[:WORDS_MAX],
    )
