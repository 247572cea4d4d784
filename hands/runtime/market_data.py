"""Everything that brings the market in: the feeds, and what is done about silence, gaps, history and sessions.

Owns the assembly of those parts and their life. May not decide anything. The one idea: rows go one way, from a feed
through the sequencer into the market, and are kept for a while; whatever repairs or judges stands beside that way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from hands.core.events import AnyEvent, Link, LinkReport, SessionReport
from hands.core.state import State
from hands.core.units import NS_PER_S, Ns
from hands.runtime import status
from hands.runtime.audit import Audit
from hands.runtime.gaps import Gaps
from hands.runtime.liveness import Liveness
from hands.runtime.recent import Recent
from hands.runtime.repairs import Repairs
from hands.runtime.session_resets import SessionResets, on_the_minute
from hands.runtime.warm_up import WarmUp
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.frames import AnyNotice
from hands.venues.alpaca.history import History
from hands.venues.alpaca.market_feed import MarketFeed
from hands.venues.alpaca.rate import RateBudget

DAY_NS = 86_400 * NS_PER_S
MARKS_A_SECOND = 100
"""Symbols whose state is noted down in one round of housekeeping, at about 2 us each."""


class MarketData:
    """The market's side of the daemon. `latest_quote(symbol)` asks the venue and takes the answer into the market.

    `history`: who else has time may ask it too.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        state: State,
        clock: Callable[[], Ns],
        *,
        take_rows: Callable[[np.ndarray, int], None],
        feed: Callable[[AnyEvent], None],
        latest_quote: Callable[[str], Awaitable[int | None]],
        budget: RateBudget,
        mute_after_s: float,
        audit_s: float,
    ) -> None:
        market = state.market
        self._state = state
        self._clock = clock
        self._take_rows = take_rows
        self._feed = feed
        self._mute_after_s = mute_after_s
        self._session_resets = SessionResets(market, clock())
        self._recent = Recent(market, clock())
        self.feeds = {
            link: MarketFeed(
                endpoints,
                credentials,
                symbols,
                market.index,
                self._take,
                self._deliver,
                clock,
                link,
                on_notice=self._take_notice,
                on_silence=self._judge_silence,
                on_resumed=self._note_resumed,
                mute_after_s=mute_after_s,
            )
            for link, symbols in _by_link(market.symbols).items()
        }
        self.history = History(endpoints, credentials, market.index, clock, budget=budget)
        self._warm_up = WarmUp(market, self._recent, self.feeds, self.history, clock, self._session_start)
        self._repairs = Repairs(market, self._recent, self.feeds, clock)
        self._gaps = Gaps(
            market, self._recent, self._repairs, self.feeds, self.history, clock, self._warm_up.load
        )
        self._audit = Audit(
            market, self._recent, self._repairs, self._gaps, self.feeds, self.history, clock, every_s=audit_s
        )
        self._liveness = Liveness(
            self.feeds,
            market,
            latest_quote,
            clock,
            mute_after_s=mute_after_s,
            on_mute=self._gaps.note_mute,
        )

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect, and to watch; returns at once."""
        for feed in self.feeds.values():
            await feed.start()
        self._liveness.start()

    def warm_up(self) -> None:
        """Begin to load history, once the session is known; `is_warm` when that is over, one way or the other."""
        self._warm_up.start()
        self._audit.start()

    @property
    def is_warm(self) -> bool:
        return self._warm_up.is_over or self._warm_up.fault is not None

    async def stop(self) -> None:
        """Close everything; no row comes after this."""
        await self._liveness.stop()
        for feed in self.feeds.values():  # before what works for them: a row or a loss begins a repair
            await feed.stop()
        await self._audit.stop()
        await self._warm_up.stop()
        await self._gaps.stop()
        await self._repairs.stop()
        await self.history.close()

    def keep_house(self) -> None:
        """Put in order what came out of it, and note down where to go back to; once a second."""
        self._repairs.put_in_order()
        self._recent.mark_some(self._clock(), MARKS_A_SECOND)

    def take_session(self, report: SessionReport) -> None:
        """Outside the session a silent equity feed is not a dead one; and how far the clocks may be apart."""
        for each in self.feeds.values():
            each.ahead_max_ns = report.ahead_max_ns
        feed = self.feeds.get(Link.EQUITY_DATA)
        if feed is not None:
            feed.expect_data(self._mute_after_s if report.is_open else None)
        self._session_resets.take(report)

    def faults(self) -> dict[str, str | None]:
        """Return what is wrong with each part, None where nothing is."""
        gaps = ", ".join(self._gaps.open_gaps)
        return {
            **{str(link): status.feed_fault(feed) for link, feed in self.feeds.items()},
            "history": self._warm_up.fault or self._audit.fault,
            "gaps": self._gaps.fault or (f"being filled: {gaps}" if gaps else None),
        }

    def streams(self) -> dict[str, status.Document]:
        """Return how each stream is, for the operator."""
        now_ns, offset_ns, filling = self._clock(), self._state.wall_offset_ns, self._gaps.open_gaps
        return {
            str(link): status.stream(
                feed,
                self._gaps.filled[link],
                now_ns,
                offset_ns,
                is_filling=link in filling,
                suspicious=self._suspicious(feed.symbols),
            )
            for link, feed in self.feeds.items()
        }

    def _suspicious(self, symbols: Sequence[str]) -> int:
        """Return how many prints of some symbols were held aside."""
        market = self._state.market
        return sum(market.suspicious(market.index[symbol]) for symbol in symbols)

    # --- inside ------------------------------------------------------------------------------------------------

    def _take(self, rows: np.ndarray, count: int) -> None:
        self._take_rows(rows, count)
        self._recent.keep(rows, count)

    def _take_notice(self, notice: AnyNotice) -> None:
        self._repairs.take_notice(notice)

    def _note_resumed(self, link: Link) -> None:
        self._gaps.silence_over(link)

    def _judge_silence(self, link: Link) -> None:
        self._liveness.judge_silence(link)

    def _deliver(self, event: AnyEvent) -> None:
        """Tell of a link's loss before it is decided upon, and of its return afterwards."""
        if isinstance(event, LinkReport) and not event.up:
            self._gaps.link_changed(event.link, up=False)
        self._feed(event)
        if isinstance(event, LinkReport) and event.up:
            self._gaps.link_changed(event.link, up=True)

    def _session_start(self, symbol: str, now_ns: int) -> int | None:
        """Return when the session of `symbol` that is in progress began, None where none is or nobody knows."""
        if "/" in symbol:
            return now_ns - now_ns % DAY_NS
        session = self._state.session
        if session is None or not session.is_open or session.open_ns is None:
            return None
        return on_the_minute(session.open_ns)


def _by_link(symbols: Sequence[str]) -> dict[Link, list[str]]:
    """Return the symbols of each feed that has any."""
    found = {
        Link.EQUITY_DATA: [symbol for symbol in symbols if "/" not in symbol],
        Link.CRYPTO_DATA: [symbol for symbol in symbols if "/" in symbol],
    }
    return {link: names for link, names in found.items() if names}
