"""What `hands replay` prints: a replay, or what differs between two, for people or as one document.

Owns the words and the tables. May not play or compare anything.
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hands.cli.output import print_json, say, table
from hands.cli.times import clock_text

if TYPE_CHECKING:
    from hands.replay.compare import Changed, Comparison
    from hands.replay.outcome import Replay, Trade, Verdict

SHOWN = 20
"""So many trades and differing verdicts are listed; `--json` has them all."""

Document = dict[str, Any]


# --- one replay --------------------------------------------------------------------------------------------


def document(found: Replay) -> Document:
    """Return a replay as `--json` prints it: amounts as decimal text, times as Unix ns."""
    return {
        **_head(found),
        "equity": [[each.at_ns, _text(each.equity)] for each in found.equity],
        "verdicts": [_plain(each) for each in found.verdicts],
        "orders": [_plain(each) for each in found.orders],
        "fills": [_plain(each) for each in found.fills],
        "trades": [_plain(each) for each in found.trades],
        "open_positions": [_plain(each) for each in found.open_positions],
        "refused": [_plain(each) for each in found.refused],
    }


def _head(found: Replay) -> Document:
    return {
        "ok": True,
        "digest": found.digest,
        "symbols": list(found.symbols),
        "from_ns": found.from_ns,
        "to_ns": found.to_ns,
        "fills_model": found.fills_model,
        "latency_ms": found.latency_ms,
        "latency_from": found.latency_from,
        "left_out": list(found.left_out),
        "session": found.session,
        "seed": found.seed,
        "limits_sha256": found.limits_sha256,
        "opening_equity": _text(found.opening_equity),
        "closing_equity": _text(found.equity[-1].equity),
        "verdicts_by_code": found.verdicts_by_code,
        "realised_pnl": _text(found.realised_pnl),
        "open_pnl": _text(found.open_pnl),
        "unquoted": list(found.unquoted),
        "untraded": list(found.untraded),
        "counters": found.counters,
        "wall_s": round(found.wall_s, 3),
        "rows_per_s": round(found.rows_per_s),
    }


def _text(value: Decimal) -> str:
    """Return a decimal without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: Any) -> Document:
    return {
        name: _text(found) if isinstance(found, Decimal) else found for name, found in asdict(value).items()
    }


def tell(found: Replay, *, as_json: bool) -> None:
    if as_json:
        print_json(document(found))
        return
    say("\n".join([*_summary(found), "", *_trade_lines(found.trades), *_open_lines(found)]))


def _summary(found: Replay) -> list[str]:
    lines = [
        f"{', '.join(found.symbols)}  {clock_text(found.from_ns)} to {clock_text(found.to_ns)} UTC",
        f"{found.rows:,} rows in {found.wall_s:.1f} s, {found.rows_per_s:,.0f} a second",
        f"fills {found.fills_model}, {_latency(found)}, session {found.session}",
        "",
    ]
    codes = found.verdicts_by_code
    if codes:
        lines += table(("verdicts", "documents"), codes.items())
    else:
        lines.append("no document was judged")
    lines += _remarks(found)
    lines += [f"not taken over: {each}" for each in found.left_out]
    won = sum(trade.pnl > 0 for trade in found.trades)
    gain = found.equity[-1].equity - found.opening_equity
    lines += [
        "",
        f"{len(found.trades)} trades over, {won} of them won; {len(found.open_positions)} still open",
        f"P&L {_money(found.realised_pnl)} USD realised, {_money(found.open_pnl)} open",
        f"equity {_money(found.equity[-1].equity, sign=False)} USD ({_money(gain)})",
        f"digest {found.digest}",
    ]
    return lines


def _latency(found: Replay) -> str:
    if found.latency_from == "record":
        return f"latency as recorded, median {found.latency_ms:.1f} ms each way"
    return f"{found.latency_ms:g} ms each way"


def _remarks(found: Replay) -> list[str]:
    """Return what explains why less was judged, or entered, than was asked for."""
    counters = found.counters
    outside = [
        f"{counters[name]} {where}"
        for name, where in (
            ("documents_before", "before its first row"),
            ("documents_after", "after its last"),
        )
        if counters[name]
    ]
    lines = [f"documents outside the market's time, left out: {', '.join(outside)}"] if outside else []
    if "AGENT_LATCHED" in found.verdicts_by_code:
        lines.append(
            "AGENT_LATCHED: too many faulty documents in a row (rejections_latch); nobody resumes here"
        )
    if found.unquoted:
        lines.append(f"no quotes of {', '.join(found.unquoted)}: nothing is entered there (NO_MARKET_DATA)")
    if found.untraded:
        lines.append(
            f"no trades of {', '.join(found.untraded)}: a share's stop is elected by a trade, so none acts"
        )
    return lines


def _money(value: Decimal, *, sign: bool = True) -> str:
    return f"{value:+,.2f}" if sign else f"{value:,.2f}"


def _trade_lines(trades: tuple[Trade, ...]) -> list[str]:
    if not trades:
        return []
    rows = [
        (clock_text(t.opened_ns), t.symbol, t.direction, _text(t.qty), _price(t.entry_price), _price(t.exit_price),
         t.exit_reason, _money(t.pnl), t.strategy_ref)
        for t in trades[-SHOWN:]
    ]  # fmt: skip
    headings = ("opened", "symbol", "side", "qty", "entry", "exit", "why", "P&L", "strategy")
    more = len(trades) - SHOWN
    return [*([f"the last {SHOWN} of {len(trades)} trades:"] if more > 0 else []), *table(headings, rows)]


def _price(value: Decimal | None) -> str | None:
    return None if value is None else _text(value)


def _open_lines(found: Replay) -> list[str]:
    rows = [
        (p.symbol, _text(p.qty), _text(p.avg_price), _text(p.mark), _money(p.pnl))
        for p in found.open_positions
    ]
    return ["", *table(("still open", "qty", "entry", "market", "P&L"), rows)] if rows else []


# --- two replays -------------------------------------------------------------------------------------------


def tell_difference(
    before: Replay, after: Replay, old: Path | str, new: Path | str, *, as_json: bool
) -> None:
    from hands.replay.compare import compare

    found = compare(before, after)
    if as_json:
        print_json(
            {
                "ok": True,
                "same": found.is_same,
                "before": {"limits": str(old), **_head(before)},
                "after": {"limits": str(new), **_head(after)},
                "verdicts": [
                    {
                        "intent_id": each.intent_id,
                        "before": None if each.before is None else _plain(each.before),
                        "after": None if each.after is None else _plain(each.after),
                    }
                    for each in found.verdicts
                ],
                "only_before": [_plain(trade) for trade in found.only_before],
                "only_after": [_plain(trade) for trade in found.only_after],
                "moved": [{"before": _plain(m.before), "after": _plain(m.after)} for m in found.moved],
                "realised_pnl_difference": _text(found.realised_pnl),
                "open_pnl_difference": _text(found.open_pnl),
            }
        )
        return
    say("\n".join(_difference(found, before, after, old, new)))


def _difference(
    found: Comparison, before: Replay, after: Replay, old: Path | str, new: Path | str
) -> list[str]:
    lines = [f"A {old}: {_short(before)}", f"B {new}: {_short(after)}", ""]
    if found.is_same:
        return [*lines, "no verdict, no trade and no result differs"]
    if found.verdicts:
        rows = [
            (each.intent_id[:8], _at(each), _code(each.before), _code(each.after))
            for each in found.verdicts[:SHOWN]
        ]
        lines += [f"{len(found.verdicts)} verdicts differ:", *table(("intent", "at", "A", "B"), rows)]
    for name, trades in (("A", found.only_before), ("B", found.only_after)):
        if trades:
            lines += ["", f"{len(trades)} trades only in {name}:", *_trade_lines(trades)]
    if found.moved:
        cells = [
            (m.before.intent_id[:8], m.before.symbol, _text(m.before.qty), _text(m.after.qty), _money(m.before.pnl),
             _money(m.after.pnl), _money(m.pnl))
            for m in found.moved[:SHOWN]
        ]  # fmt: skip
        headings = ("intent", "symbol", "qty A", "qty B", "P&L A", "P&L B", "B - A")
        lines += ["", f"{len(found.moved)} trades came to another end:", *table(headings, cells)]
    difference = f"{_money(found.realised_pnl)} USD realised, {_money(found.open_pnl)} open"
    return [*lines, "", f"B - A: {difference}"]


def _short(found: Replay) -> str:
    return (
        f"{len(found.trades)} trades, {_money(found.realised_pnl)} USD realised, digest {found.digest[:16]}"
    )


def _at(changed: Changed) -> str:
    known = changed.before or changed.after
    return clock_text(None if known is None else known.at_ns)


def _code(verdict: Verdict | None) -> str | None:
    return None if verdict is None else str(verdict.code)
