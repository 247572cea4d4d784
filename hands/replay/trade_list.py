"""Every trade of a report, newest first: a line each, behind it its chart, its numbers and its thesis.

Owns how one trade is told. May not compute a figure. The one idea: a page has a budget in bytes, shared by its trades; the
more there are, the fewer bars and the less of a thesis each one shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from hands.core.units import NANO, decimal_text
from hands.replay.headlines import NAME_MOST
from hands.replay.plots import empty, section
from hands.replay.prices import Prices
from hands.replay.report_data import Found, chart_window
from hands.replay.trade_chart import trade_chart
from hands.replay.trades import Trade
from hands.replay.unprotected import Stretch
from hands.replay.words import (
    REASONS,
    UNKNOWN,
    exact,
    lasting,
    moment,
    money,
    plain,
    price,
    said,
    signed,
    tone,
)

BARS_BYTES = 720_000
BAR_BYTES = 22
BARS_LEAST, BARS_MOST = 16, 110
THESIS_BYTES = 250_000
THESIS_LEAST, THESIS_MOST = 120, 1_500
FULL = 1_500
"""So many trades have a chart; of what is older there is the line alone."""


@dataclass(frozen=True, slots=True)
class _Share:
    """What each trade may take of the page."""

    bars: int
    thesis: int

    @classmethod
    def of(cls, trades: int) -> _Share:
        each = max(1, min(trades, FULL))
        return cls(
            bars=max(BARS_LEAST, min(BARS_MOST, BARS_BYTES // (BAR_BYTES * each))),
            thesis=max(THESIS_LEAST, min(THESIS_MOST, THESIS_BYTES // each)),
        )


def trade_list(found: Found, prices: Prices) -> str:
    """Return the section of all trades."""
    if not found.trades:
        return section("trades", "Trades", empty("No trade was opened in this time."))
    part = _Share.of(len(found.trades))
    ordered = sorted(found.covered, key=lambda each: -(each[0].closed_ns or 2**63))
    shown = [
        _trade(found, prices, trade, spans, part if number < FULL else None)
        for number, (trade, spans) in enumerate(ordered)
    ]
    head = (
        '<div class="thead" aria-hidden="true"><span>symbol</span><span></span><span>ended by</span><span>opened</span>'
        '<span class="n">held</span><span class="n">R</span><span class="n">result</span></div>'
    )
    lede = "Newest first. Open a line for its chart, numbers and thesis."
    inner = f'<div class="tools" hidden></div>{head}<div class="list">{"".join(shown)}</div>'
    return section("trades", f"Trades ({len(shown):,})", inner, lede)


def _trade(found: Found, prices: Prices, trade: Trade, spans: Sequence[Stretch], part: _Share | None) -> str:
    result = None if trade.pnl is None else trade.pnl / NANO
    end_ns = trade.closed_ns or found.until_ns
    in_r = trade.pnl / trade.risk if trade.pnl is not None and trade.risk else None
    ended = "still held" if trade.closed_ns is None else REASONS.get(trade.exit_reason or "", "") or UNKNOWN
    way = "long" if trade.is_long else "short"
    if trade.closed_ns is None:
        result = _held_result(found, trade)
        told = (
            "open"
            if result is None
            else f'<small title="marked at the last price">open</small> {money(result)}'
        )
    else:
        told = money(result)
    line = (
        f'<b>{said(trade.symbol)}</b><i class="way {way}">{way}</i><span>{ended}</span>'
        f'<span class="when">{moment(trade.opened_ns, found.zone)}</span>'
        f'<span class="n">{lasting(end_ns - trade.opened_ns)}</span>'
        f'<span class="n r">{signed(in_r, 2, after=" R") if in_r is not None else "&nbsp;"}</span>'
        f'<strong class="n{tone(result)}">{told}</strong>'
    )
    keys = f'data-p="{result or 0:.2f}" data-o="{trade.opened_ns // 1_000_000}" data-h="{(end_ns - trade.opened_ns) // 1_000_000}"'
    if part is None:
        return f'<div class="trade bare" {keys}>{line}</div>'
    window = chart_window(trade, found.until_ns)
    bars = prices.bars(trade.symbol, *window, part.bars)
    chart = trade_chart(trade, bars, window, spans, found.zone)
    note = (
        ""
        if bars
        else '<p class="note">No prices are recorded of this time: the plan and the fills alone.</p>'
    )
    return (
        f'<details class="trade" {keys}><summary>{line}</summary><div class="inside">{chart}{note}'
        f"{_numbers(trade, found.zone)}{_thesis(trade, part.thesis)}</div></details>"
    )


def _held_result(found: Found, trade: Trade) -> float | None:
    amount = found.unrealised.get(trade.intent_id)
    return None if amount is None else amount / NANO


def _numbers(trade: Trade, zone: ZoneInfo) -> str:
    estimated = " est." if trade.fees_estimated and trade.fees is not None else ""
    rows = [
        ("strategy", f"<bdi>{said(trade.strategy_ref, NAME_MOST)}</bdi>" if trade.strategy_ref else UNKNOWN),
        ("agent", f"<bdi>{said(trade.agent, NAME_MOST)}</bdi>"),
        ("quantity", exact(None if trade.qty is None else decimal_text(int(trade.qty)))),
        ("entry", _price(trade.entry_price)),
        ("exit", _price(trade.exit_price) if trade.closed_ns is not None else "\u2013"),
        ("planned risk", _usd(trade.risk)),
        ("fees", _usd(trade.fees) + estimated),
        ("expected", money(None if trade.expected is None else trade.expected / NANO)),
        ("slippage", _slippage(trade)),
        ("latency", lasting(trade.latency_ns)),
        ("confidence", UNKNOWN if trade.confidence is None else f"{trade.confidence / NANO:.2f}"),
        ("closed", moment(trade.closed_ns, zone) if trade.closed_ns is not None else "\u2013"),
        ("intent", f"<code>{said(trade.intent_id, NAME_MOST)}</code>"),
    ]
    return f"<dl>{''.join(f'<div><dt>{name}<dd>{value}</div>' for name, value in rows)}</dl>"


def _usd(value: int | None) -> str:
    return plain(None if value is None else value / NANO, 2, "$")


def _price(value: int | None) -> str:
    return price(None if value is None else value / NANO)


def _slippage(trade: Trade) -> str:
    if trade.slippage is None or not trade.trigger_price:
        return UNKNOWN
    return signed(trade.slippage / trade.trigger_price * 10_000, 1, after=" bps")


def _thesis(trade: Trade, most: int) -> str:
    if not trade.thesis:
        return ""
    return f'<blockquote dir="auto">{said(trade.thesis, most)}</blockquote>'
