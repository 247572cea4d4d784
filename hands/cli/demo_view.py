"""The demo's picture: the market moving, documents arriving, verdicts, orders, fills, protection, latency.

Owns what is drawn; everything in it comes from the daemon's `view` and from the script's own acts. May not decide,
wait or compute anything but widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hands.cli.demo_script import Act, Expectation

STYLE = {"OK": "bold green", "OPEN": "green", "CLOSED": "cyan", "ARMED": "yellow", "CLOSING": "yellow"}
VERDICTS_SHOWN = 8
ORDERS_SHOWN = 6
FILLS_SHOWN = 6
CODE_WIDTH = 18
TALL, WIDE = 36, 110
"""Lines and columns from which on everything is shown."""

Document = dict[str, Any]


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a plain table; a heading that begins with > is set to the right, one that begins with ! stays whole."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, expand=True, pad_edge=False
    )
    for heading in headings:
        right = heading.startswith(">")
        whole = CODE_WIDTH if heading.startswith("!") else None
        side: Literal["left", "right"] = "right" if right else "left"
        table.add_column(heading.lstrip(">!"), justify=side, no_wrap=True, min_width=whole)
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else "-" if cell is None else str(cell) for cell in row)
        )
    return table


def _places(value: float | None, places: int) -> str | None:
    return None if value is None else f"{value:.{places}f}"


def _market(view: Document, before: dict[str, str]) -> Table:
    rows = []
    for quote in view["symbols"]:
        known = quote.get("indicators") or {}
        last = quote["last"]
        previous = before.get(quote["symbol"])
        up = previous is None or last is None or float(last) >= float(previous)
        price = Text(last or "-", style="green" if up else "red")
        if last is not None:
            before[quote["symbol"]] = last
        rsi, macd = known.get("tick_rsi_14"), known.get("tick_macd")
        rows.append(
            (quote["symbol"], quote["bid"], quote["ask"], price, _places(rsi, 1), _places(macd, 3),
             _places(known.get("vwap"), 2), quote["age_ms"])
        )  # fmt: skip
    return _table("market", ("symbol", ">bid", ">ask", ">last", ">rsi", ">macd", ">vwap", ">age ms"), rows)


def _verdicts(acts: list[Act]) -> Table:
    rows = []
    for act in acts:
        code = act.code or "..."
        message = "" if act.receipt is None or code == "OK" else str(act.receipt["message"])
        if code == "OK" and act.receipt is not None and act.receipt["order"]:
            order = act.receipt["order"]
            message = (
                f"{order['side']} {order['qty'][:9]} at {order['limit_price']}, risk {order['risk_usd']} USD"
            )
        style = STYLE.get(code, "bold red" if code == act.expected else "bold white on red")
        rows.append((f"{act.at_s:5.1f}", act.symbol or "?", act.label, Text(code, style=style), message[:58]))
    return _table("intents and what was said to them", (">s", "symbol", "what", "!verdict", "why"), rows)


def _trades(view: Document) -> Table:
    rows = []
    for trade in view["trades"][-5:]:
        guard, held, ended = trade["protection"], trade["position"], trade["exit"]
        shield = "" if guard is None else f"{guard['kind']} {guard['stop']}"
        if ended is not None:
            shield = f"ended by {ended['reason']} at {ended['price']}"
        pnl = Text(trade["pnl_usd"], style="red" if trade["pnl_usd"].startswith("-") else "green")
        state = Text(trade["state"], style=STYLE.get(trade["state"], "white"))
        qty = None if held is None else held["qty"][:9]
        rows.append((trade["symbol"], state, qty, trade["stop_loss"], trade["take_profit"], pnl, shield))
    return _table("trades", ("symbol", "state", ">qty", ">stop", ">target", ">P&L", "protection"), rows)


def _orders(view: Document) -> Table:
    rows = [
        (o["symbol"], o["leg"], o["side"], o["qty"][:9], o["limit_price"], o["stop_price"], o["status"])
        for o in view["orders"][-ORDERS_SHOWN:]
    ]
    return _table("orders", ("symbol", "leg", "side", ">qty", ">limit", ">stop", "status"), rows)


def _fills(view: Document) -> Table:
    rows = [(f["symbol"], f["leg"], f["qty"][:9], f["price"]) for f in view["fills"][-FILLS_SHOWN:]]
    return _table("fills", ("symbol", "leg", ">qty", ">price"), rows)


def latency_line(latency: Document) -> str:
    """Return the latencies of all spans in one line."""
    parts = [
        f"{name.replace('_', ' ')} p50 {span['p50']:.0f} µs, max {span['max']:.0f} µs"
        for name, span in latency.items()
        if span["n"]
    ]
    return " · ".join(parts) or "no order yet"


def picture(
    view: Document | None,
    acts: list[Act],
    news: str,
    elapsed_s: float,
    before: dict[str, str],
    size: tuple[int, int] = (WIDE, TALL),
) -> RenderableType:
    """Return the whole picture for a terminal of `size` (columns, lines), leaving out what has no room.

    `before` remembers the last prices between two calls.
    """
    if view is None:
        return Panel(Text(news or "starting the exchange and the daemon"), title="Hands")
    day, account = view["day"], view["account"]
    equity = account["equity"] if account else "-"
    head = (
        f"{view['state']} on {view['venue']} · equity {equity} USD · trades {day['trades']}/{day['max_daily_trades']}"
        f" · live {day['live']}/{day['max_concurrent']} · {elapsed_s:.0f} s"
    )
    width, height = size
    parts: list[RenderableType] = [
        Text(news, style="bold yellow"),
        _market(view, before),
        _verdicts(acts[-VERDICTS_SHOWN if height >= TALL else -4 :]),
        _trades(view),
    ]
    if height >= TALL and width >= WIDE:
        both = Table.grid(expand=True, padding=(0, 4, 0, 0))
        both.add_column(ratio=5)
        both.add_column(ratio=3)
        both.add_row(_orders(view), _fills(view))
        parts.append(both)
    elif height >= TALL:
        parts.append(_orders(view))
    parts.append(Text(latency_line(view["latency_us"]), style="dim", no_wrap=True, overflow="ellipsis"))
    return Panel(Group(*parts), title=f"Hands · {head}", title_align="left")


def summary_lines(summary: Document, expectations: list[Expectation]) -> list[str]:
    """Return the summary for people."""
    verdicts = ", ".join(f"{code} {count}" for code, count in summary["verdicts"].items())
    trades = ", ".join(f"{t['asset']} {t['exit']} {t['pnl_usd']} USD" for t in summary["trades"])
    still_open = ", ".join(f"{p['symbol']} {p['qty'][:9]}" for p in summary["open"])
    lines = [
        f"verdicts   {verdicts}",
        f"trades     {trades or 'none'}",
        f"P&L        {summary['pnl_usd']} USD closed; equity {summary['equity_usd']} USD",
        f"still held {still_open or 'nothing'} (protected at the exchange)",
        f"latency    {latency_line(summary['latency_us'])}",
        f"session    {summary['state_dir']} ({summary['seconds']:.1f} s)",
    ]
    failed = [e for e in expectations if not e.ok]
    lines.extend(f"FAILED     {e.what}: expected {e.expected}, found {e.found}" for e in failed)
    held = len(expectations) - len(failed)
    lines.append(f"{'OK' if not failed else 'NOT OK'}: {held} of {len(expectations)} expectations held")
    return lines
