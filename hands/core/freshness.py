"""How old a quote really is, and whether a symbol trades at all: what must be known of the market before it is priced.

Owns the venue's clock offset per feed, the confirmations of quiet quotes, the halts, the questions about a market whose
feed is away, and the rules that follow:

- A quote is as old as its receipt, or, where it came late, as its venue stamp moved to our clock: the offset between
  the two clocks is that of the quickest messages lately, so a feed that has fallen behind does not pass for fresh.
- A feed that was behind from the beginning shows its lag as an offset. So the offset counts up to what the venue's own
  clock, asked over REST, allows for (where it is not known: as if the clocks were equal) and `WAY_MAX_NS` for the way;
  what is beyond makes the quote older. A feed whose offset is not measured yet has that bound for one.
- A quote that the venue, asked for the latest one, has confirmed is as old as that question: the symbol was quiet, not
  the feed dead. An answer older than what the stream brought confirms nothing, and neither does
  a newer one: the market refused its row, so what it holds is no longer the venue's latest.
- A symbol is halted from the venue's word until the venue's other word, or until it is seen to trade again: the word
  may have been lost with a connection, and nothing trades while it is halted. A halt is not later than its receipt,
  whatever its stamp says, nor earlier than the last trade that was known then.
- Coins that are held need an eye on them: the venue rests a stop-limit, which a gap jumps over without a word, and keeps
  no target. While their feed is away (a venue may refuse a new connection for as long as it counts the old one) they are
  asked for, and the answers move the triggers. A feed that is up and silent is not ours to doubt: the shells judge it.

May not deny anything: that is for the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from hands.core.commands import Alert, AnyCommand, FetchQuote
from hands.core.events import Link, QuoteFetched, TradingStatusReport, VenueClockMeasured
from hands.core.market import QuoteView
from hands.core.state import Confirmation, Halt, State
from hands.core.units import NS_PER_S, Ns

RESUMED_AFTER_NS: Final = NS_PER_S
"""A print stamped so long after a halt shows that it is over; nearer to it, it may be the last one before."""


WAY_MAX_NS: Final = NS_PER_S
"""What a quick message may take from the venue's clock to ours."""

CLOCKS_APART_NS: Final = 5 * NS_PER_S
"""How far ahead of ours a venue's clock may be that was not measured."""

ASK_EVERY_NS: Final = 3 * NS_PER_S // 2
"""The least time between two questions about a coin whose feed is away: by the timer of whole seconds, two."""

ASK_ANYWAY_NS: Final = 6 * NS_PER_S
"""So long an answer is waited for: a little more than a request may take."""

_CRYPTO_DATA, _EQUITY_DATA = Link.CRYPTO_DATA, Link.EQUITY_DATA


def link_of(symbol: str) -> Link:
    """Return the feed that a symbol's market comes on."""
    return _CRYPTO_DATA if "/" in symbol else _EQUITY_DATA


def quote_age_ns(state: State, symbol: str, quote: QuoteView, now_ns: int) -> int:
    """Return how old `quote` is at `now_ns`, by the rules above; never negative."""
    at_ns = min(quote.recv_ns, quote.venue_ns + _offset_ns(state, link_of(symbol)))
    confirmed = state.confirmed.get(symbol)
    if confirmed is not None and confirmed.venue_ns == quote.venue_ns:
        at_ns = max(at_ns, confirmed.asked_ns)
    return max(0, now_ns - at_ns)


def _offset_ns(state: State, link: Link) -> int:
    """Return what a feed's stamps are moved by to our clock: as measured, within what the venue's clock allows for."""
    ahead_ns = state.session.ahead_max_ns if state.session is not None else None
    most_ns = WAY_MAX_NS + (ahead_ns or 0)
    return min(most_ns, state.venue_offsets_ns.get(link, most_ns))


def halt_of(state: State, symbol: str) -> Halt | None:
    """Return the halt that `symbol` is in, None where it trades."""
    halt = state.halts.get(symbol)
    if halt is None or (index := state.market.index.get(symbol)) is None:
        return halt
    last = state.market.last_trade(index)
    traded = last is not None and last.venue_ns >= halt.venue_ns + RESUMED_AFTER_NS
    return None if traded else halt


def confirm_quote(state: State, symbol: str, venue_ns: int | None, asked_ns: int) -> None:
    """The venue, asked at `asked_ns`, says that its latest quote of `symbol` is the one of `venue_ns`."""
    if venue_ns is not None and asked_ns:
        state.confirmed[symbol] = Confirmation(venue_ns=venue_ns, asked_ns=asked_ns)


def ask_unseen(state: State, out: list[AnyCommand]) -> None:
    """Ask for the quotes of the coins that are held while their feed is away; called every second."""
    if state.links.get(_CRYPTO_DATA, False) or not state.reconciled or state.dry_run:
        return
    for ticket in state.committed():
        symbol, plan = ticket.symbol, ticket.plan
        if plan is None or not plan.is_crypto or ticket.owned <= 0:
            continue
        if state.now_ns >= state.quote_again_ns.get(symbol, 0):
            state.quote_again_ns[symbol] = Ns(state.now_ns + ASK_ANYWAY_NS)
            out.append(FetchQuote(symbol=symbol))


def note_answer(state: State, event: QuoteFetched) -> None:
    """A question about a quote is over, whoever asked it and whatever came of it: the next need not wait for it."""
    if event.symbol in state.quote_again_ns:
        state.quote_again_ns[event.symbol] = Ns(event.asked_ns + ASK_EVERY_NS)


def _clock_measured(state: State, event: VenueClockMeasured, _out: list[AnyCommand]) -> None:
    state.venue_offsets_ns[event.link] = event.offset_ns


def _trading_status(state: State, event: TradingStatusReport, out: list[AnyCommand]) -> None:
    """Note a halt or its end; the venue's words arrive in order, but one that is older changes nothing."""
    known = state.halts.get(event.symbol)
    if known is not None and event.venue_ns < known.venue_ns:
        return
    words = " ".join(word for word in (event.text, event.reason) if word) or event.code
    if event.halted:
        halt = Halt(symbol=event.symbol, since_ns=event.ts_ns, venue_ns=_halted_ns(state, event), words=words)
        state.halts[event.symbol] = halt
        state.changed["halt", event.symbol] = halt
        out.append(
            Alert(level="warning", code="HALT", message=f"{event.symbol} is halted at the venue: {words}")
        )
    elif known is not None:
        del state.halts[event.symbol]
        state.changed["halt", event.symbol] = None
        out.append(Alert(level="info", code="HALT", message=f"{event.symbol} trades again: {words}"))


def _halted_ns(state: State, event: TradingStatusReport) -> int:
    """Return when a halt began by the venue's clock.

    A stamp from the future would outlive every trade and every resumption; one from long ago would be over at once.
    """
    index = state.market.index.get(event.symbol)
    last = None if index is None else state.market.last_trade(index)
    began_ns = event.venue_ns if last is None else max(event.venue_ns, last.venue_ns)
    return min(began_ns, event.ts_ns - state.venue_offsets_ns.get(link_of(event.symbol), -CLOCKS_APART_NS))


HANDLERS: Final[dict[type[msgspec.Struct], Callable[[State, Any, list[AnyCommand]], None]]] = {
    VenueClockMeasured: _clock_measured,
    TradingStatusReport: _trading_status,
}
"""What `decide` does with the events that only concern this room."""
