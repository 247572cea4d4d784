"""The picture of `hands watch`: one tick as lines for a terminal of any size.

Owns what is shown where, and in which words. Pure functions of the daemon's document: nothing here asks, waits or
remembers. The one idea: one row of figures per symbol always; what else is known of it comes below that row, as much as
there is room for and the same for all, so that nothing jumps while one looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from hands.cli.output import harmless
from hands.cli.sparkline import ABSENT, BLOCKS, RSI_PERIOD, Number, rsi_beside, spark

Document = dict[str, Any]

UNKNOWN = "\u2013"
UP, DOWN = "▲", "▼"
DETAILS_MAX = 8
SPARK_MIN, SPARK_MAX = 8, 121
FIGURE_WIDTH = 7
NOTHING = 5e-10
"""Prices have nine decimals: what of an indicator is less is its rounding."""

INDENT = "  "
GAP = "  "
HOT_RSI, COLD_RSI = 70.0, 30.0
GIVEN_UP = ("VWAP", "BPS", "AGE", "RSI", "ASK", "BID")
"""Columns that a narrow terminal does without, the first first."""

STATE_STYLE = {"ACTIVE": "bold green", "REDUCE_ONLY": "bold yellow", "HALTED": "bold red"}
IN_THE_ROW = frozenset({"vwap", "rsi", "rsi_14"})
FIRST = ("macd", "macd_signal", "macd_hist", "volume", "tick_rsi", "tick_rsi_14")
LABELS = {"macd_signal": "signal", "macd_hist": "hist", "volume_24h": "24h"}

PLAIN_GLYPHS = str.maketrans({**dict(zip(BLOCKS, "_.,-~=*#", strict=True)), UNKNOWN: "-", UP: "^", DOWN: "v"})
"""What is drawn instead where a terminal's encoding has no blocks."""


def moves(before: Mapping[str, str], document: Document, last_moves: Mapping[str, str]) -> dict[str, str]:
    """Return for each symbol the way its last price went when it last changed: `UP`, `DOWN`, or a blank."""
    found = {}
    for row in document["symbols"]:
        symbol, last = row["symbol"], row["last"]
        was = before.get(symbol)
        if was is None or last is None or float(last) == float(was):
            found[symbol] = last_moves.get(symbol, " ")
        else:
            found[symbol] = UP if float(last) > float(was) else DOWN
    return found


def picture(
    document: Document,
    width: int,
    height: int | None = None,
    went: Mapping[str, str] | None = None,
    notice: str | None = None,
) -> list[Text]:
    """Return the lines of a tick for a terminal of `width` columns and `height` lines.

    Without a height it is as long as it comes, with one line of details per symbol. `went` is what `moves` says.
    `notice` stands in the place of the trading state where that is not known any more.
    """
    symbols, foot = document["symbols"], _foot(document, notice)
    head, rows, (spark_at, spark_width) = _rows(symbols, document["interval_s"], width, went or {})
    details = [_details(row, width, spark_at, spark_width) for row in symbols]
    business = [_business(row) for row in symbols]
    if height is None:
        body = [head, *_body(rows, details, business, 1)]
        return _cropped([*body, *foot], width)
    room = max(1, height - len(foot))
    body = _fitted(head, rows, details, business, room)
    return _cropped([*body, *[Text()] * (room - len(body)), *foot], width)[:height]


def _fitted(
    head: Text, rows: list[Text], details: list[list[Text]], business: list[list[Text]], room: int
) -> list[Text]:
    """Return the body with as many details as there is room for; symbols that do not fit at all are counted."""
    for spaced in (True, False):
        for most in range(DETAILS_MAX, 0, -1):
            body = [head, *_body(rows, details, business, most, spaced=spaced)]
            if len(body) <= room and (most > 1 or not spaced):
                return body
    body = [head, *_body(rows, [[] for _ in rows], business, 0)]
    if len(body) > room:
        body = [head, *rows]
    if len(body) <= room:
        return body
    if room < 3:
        return rows[:room]
    more = len(rows) - (room - 2)
    return [*body[: room - 1], Text(f"{INDENT}and {more} more: there is no room", style="dim")]


def _body(
    rows: Sequence[Text],
    details: Sequence[Sequence[Text]],
    business: Sequence[Sequence[Text]],
    most: int,
    *,
    spaced: bool = False,
) -> list[Text]:
    lines: list[Text] = []
    for row, more, ours in zip(rows, details, business, strict=True):
        if spaced and lines:
            lines.append(Text())
        lines += [row, *more[:most], *ours]
    return lines


def _cropped(lines: Iterable[Text], width: int) -> list[Text]:
    found = []
    for line in lines:
        shown = line.copy()
        shown.rstrip()
        shown.truncate(width, overflow="ellipsis")
        found.append(shown)
    return found


# --- the row of figures --------------------------------------------------------------------------------------


def _rows(
    symbols: Sequence[Document], interval_s: int, width: int, went: Mapping[str, str]
) -> tuple[Text, list[Text], tuple[int, int]]:
    """Return the headings, a row for each symbol, and where the spark-lines at its right end begin and how wide they are."""
    table = {
        "SYMBOL": [Text(row["symbol"], style="bold") for row in symbols],
        "LAST": [_last(row, went.get(row["symbol"], " ")) for row in symbols],
    } | {heading: [cell(row) for row in symbols] for heading, cell in CELLS.items()}
    headings = {name: name for name in table} | {"RSI": _rsi_heading(symbols)}
    widths = {name: max(len(headings[name]), *(len(cell) for cell in cells)) for name, cells in table.items()}
    for name in GIVEN_UP:
        if sum(widths.values()) + len(widths) * len(GAP) + SPARK_MIN <= width:
            break
        del widths[name]
    spark_at = sum(widths.values()) + len(widths) * len(GAP)
    spark_width = min(SPARK_MAX, width - spark_at) if width - spark_at >= SPARK_MIN else 0

    def line(cells: Mapping[str, Text], end: Text) -> Text:
        text = Text()
        for name, size in widths.items():
            cell = cells[name].copy()
            cell.align("left" if name == "SYMBOL" else "right", size)
            text.append_text(cell).append(GAP)
        return text.append_text(end)

    ending = Text(_closes_heading(interval_s, spark_width), style="dim")
    head = line({name: Text(headings[name], style="dim") for name in widths}, ending)
    rows = []
    for number, row in enumerate(symbols):
        closes = Text(spark(_closes(row), spark_width), style="cyan")
        rows.append(line({name: cells[number] for name, cells in table.items()}, closes))
    return head, rows, (spark_at, spark_width)


def _closes_heading(interval_s: int, width: int) -> str:
    bars = f"{interval_s // 60} min" if interval_s % 60 == 0 else f"{interval_s} s"
    return next((text for text in (f"CLOSES OF {bars}", bars) if len(text) <= width), "")


def _closes(row: Document) -> list[Number]:
    """Return the closes that are drawn: the completed bars', then the price of the one in progress."""
    forming = row["bar"]
    return [*map(float, row["closes"]), *([] if forming is None else [float(forming["close"])])]


def _last(row: Document, arrow: str) -> Text:
    style = {UP: "green", DOWN: "red"}.get(arrow, "")
    return Text(f"{arrow} {_price(row, row['last'])}".strip(), style=style)


def _bps(row: Document) -> Text:
    spread = row["spread_bps"]
    if spread is None:
        return Text(UNKNOWN)
    text = f"{spread:.1f}" if spread < 1000 else f"{spread:.0f}"
    wide = spread <= 0 or spread > row["spread_max_bps"]
    return Text(text, style="yellow" if wide else "")


def _age(row: Document) -> Text:
    age_ms = row["age_ms"]
    stale = age_ms is not None and age_ms > row["quote_age_max_ms"]
    return Text(age_text(age_ms), style="yellow" if stale else "")


def age_text(age_ms: float | None) -> str:
    """Return an age in at most four characters: 0.2s, 42s, 12m, 3h, 5d."""
    if age_ms is None:
        return UNKNOWN
    seconds = max(0.0, age_ms / 1000)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for most, size, unit in ((60, 1, "s"), (3600, 60, "m"), (86_400, 3600, "h")):
        if seconds < most:
            return f"{seconds / size:.0f}{unit}" if unit == "s" else f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86_400)}d"


def _vwap(row: Document) -> Text:
    vwap = row["indicators"].get("vwap")
    return Text(UNKNOWN if vwap is None else f"{vwap:.{_places(row)}f}")


def _places(row: Document) -> int:
    """Return how many decimals the prices of a symbol have."""
    prices = [price for price in (row["last"], row["bid"], row["ask"], *row["closes"]) if price]
    return max((len(price.partition(".")[2]) for price in prices), default=2)


def _price(row: Document, price: str | None) -> str:
    """Return a price with as many decimals as the symbol's others, so that the points stand in a column."""
    if price is None:
        return UNKNOWN
    whole, _, decimals = price.partition(".")
    return f"{whole}.{decimals.ljust(_places(row), '0')}"


def _rsi_of(row: Document) -> Number:
    known: dict[str, Number] = row["indicators"]
    return known["rsi"] if "rsi" in known else known.get("rsi_14")


def _rsi_heading(symbols: Sequence[Document]) -> str:
    """Return the heading with the period, where that is the same for all and not the one everybody expects."""
    periods = {row["rsi_period"] for row in symbols}
    return f"RSI {periods.pop()}" if len(periods) == 1 and periods != {RSI_PERIOD} else "RSI"


def _rsi(row: Document) -> Text:
    value = _rsi_of(row)
    if value is None:
        return Text(UNKNOWN)
    return Text(f"{value:.1f}", style="bold" if value >= HOT_RSI or value <= COLD_RSI else "")


CELLS: dict[str, Callable[[Document], Text]] = {
    "BID": lambda row: Text(_price(row, row["bid"])),
    "ASK": lambda row: Text(_price(row, row["ask"])),
    "BPS": _bps,
    "AGE": _age,
    "VWAP": _vwap,
    "RSI": _rsi,
}
"""The columns between the last price and the closes."""


# --- below the row -------------------------------------------------------------------------------------------


def _details(row: Document, width: int, spark_at: int, spark_width: int) -> list[Text]:
    """Return the other indicators in lines, the most wanted first, beside the first of them the RSI's spark-line."""
    forming = None if row["bar"] is None else float(row["bar"]["close"])
    closes = [float(close) for close in row["closes"]]
    series = rsi_beside(closes, forming, _rsi_of(row), row["rsi_period"])
    under = spark(series, spark_width, 0.0, 100.0)
    left = spark_at - len(GAP) if under.strip(ABSENT) else width
    lines = [Text(INDENT)]
    for cell in _cells_below(row, spark_width):
        room = left if len(lines) == 1 else width
        if len(lines[-1]) > len(INDENT) and len(lines[-1]) + len(cell) > room:
            lines.append(Text(INDENT))
        lines[-1].append_text(cell).append(GAP)
    if left < width:
        lines[0].truncate(left)
        lines[0].pad_right(spark_at - len(lines[0]))
        lines[0].append(under, style="magenta")
    return lines


def _cells_below(row: Document, spark_width: int) -> list[Text]:
    """Return name and value of what is not in the row: the first ones always, the others once they are known."""
    known = row["indicators"]
    first = [name for name in FIRST if name in known]
    hidden = IN_THE_ROW | set(first)
    if "tick_rsi" in known:
        first = [name for name in first if name != "tick_rsi_14"]
    others = [name for name in known if name not in hidden and known[name] is not None]
    others.sort(key=lambda name: name.startswith("tick_"))
    cells = [_cell(_label(name), figure(name, known[name]).rjust(FIGURE_WIDTH)) for name in (*first, *others)]
    sizes = f"{_size(row['bid_size'])}x{_size(row['ask_size'])}".rjust(9)
    return [*cells[:3], _cell("size", sizes), *_range(row, spark_width), *cells[3:]]


def _cell(label: str, value: str) -> Text:
    return Text().append(f"{label} ", style="dim").append(value)


def _label(name: str) -> str:
    tick, base = ("tick ", name[5:]) if name.startswith("tick_") else ("", name)
    return tick + (LABELS.get(base) or re.sub(r"_\d+\Z", "", base).replace("_", " "))


def _range(row: Document, spark_width: int) -> list[Text]:
    """Return what the lowest and the highest block of the closes stand for."""
    shown = [close for close in _closes(row)[-spark_width:] if close is not None] if spark_width else []
    if not shown:
        return []
    places = _places(row)
    return [_cell("closes", f"{min(shown):.{places}f}-{max(shown):.{places}f}")]


def figure(name: str, value: Number) -> str:
    """Return an indicator's value in at most `FIGURE_WIDTH` characters, as many of its digits as fit and mean anything."""
    if value is None:
        return UNKNOWN
    if name.startswith("volume") and name != "volume_z":
        return _size(value)
    size, sign = abs(value), "+" if name.endswith("_hist") else "-"
    if "rsi" in name.split("_") and "divergence" not in name:
        return f"{value:.1f}"
    if size < NOTHING:
        return "0"
    if value == int(value) and size < 10_000:
        return f"{value:.0f}"
    if not 9.5e-5 <= size < 999_999.5:
        return f"{value:{sign}.0e}"
    most = 2 if size >= 10 else 4 if size >= 0.00095 else 5
    texts = (f"{value:{sign}.{places}f}" for places in range(most, -1, -1))
    return next(text for text in texts if len(text) <= FIGURE_WIDTH)


def _size(value: Number) -> str:
    """Return a quantity in at most five characters: 500, 12.3k, 4.56M, 0.25."""
    if value is None:
        return UNKNOWN
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 3}f}"


def _business(row: Document) -> list[Text]:
    """Return what of ours there is in a symbol: the trade and its stop, what waits for a price; and what is not ours."""
    lines = []
    if row["position"] is not None:
        lines.append(_position(row["position"]))
    if row["armed"]:
        shown = ", ".join(_armed(trigger) for trigger in row["armed"])
        more = row["armed_total"] - len(row["armed"])
        lines.append(
            Text(INDENT).append("armed ", style="dim").append(shown + (f" and {more} more" if more else ""))
        )
    if row["foreign"]:
        lines.append(Text(f"{INDENT}not ours: {harmless(row['foreign'])}", style="yellow"))
    return lines


def _position(held: Document) -> Text:
    """Return a trade in a line: what is held, what protects it, what it has earned."""
    qty, protected = float(held["qty"]), float(held["protected_qty"])
    text = Text(INDENT).append(f"{held['direction']} {held['qty']}", style="bold")
    if held["avg_price"] is not None:
        text.append(f" at {held['avg_price']}")
    text.append(f"{GAP}stop {held['stop']}")
    if protected < qty:
        text.append(f" UNPROTECTED {held['protected_qty']} of {held['qty']}", style="bold red")
    text.append(f"{GAP}target {held['target']}{GAP}P&L ")
    pnl = held["pnl_usd"]
    text.append(pnl, style="red" if pnl.startswith("-") else "green")
    return text.append(f"{GAP}{held['state']}", style="dim")


def _armed(trigger: Document) -> str:
    sign = ">=" if trigger["fires"] == "ABOVE" else "<="
    whose = f" ({trigger['direction']})" if trigger["kind"] == "touch" else ""
    return f"{trigger['kind']} {sign} {trigger['level']}{whose}"


# --- the bottom ----------------------------------------------------------------------------------------------


def _foot(document: Document, notice: str | None) -> list[Text]:
    """Return the trading state and why it is not better; and at which moment all of it was true."""
    state = document["state"]
    if notice is not None:
        first = Text(harmless(notice), style="bold red")
    else:
        dry = ", dry run" if document["dry_run"] else ""
        first = Text().append(state, style=STATE_STYLE.get(state, "")).append(f" on {document['venue']}{dry}")
        why = [f"{reason['code']}: {reason['detail']}".rstrip(": ") for reason in document["reasons"]]
        if document["not_ready"]:
            why.insert(0, f"not ready: {document['not_ready']}")
        if document["links_down"]:
            why.append(f"links down: {', '.join(document['links_down'])}")
        if why:
            first.append(harmless(f"{GAP}{'; '.join(why)}"), style="yellow")
    parts = [
        f"{'as of ' if notice is not None else ''}{document['at'][11:19]}Z",
        f"trades {document['day_trades']} of {document['day_trades_max']}",
        f"P&L today {document['day_pnl_usd'] or UNKNOWN}",
        f"equity {document['equity'] or UNKNOWN}",
        f"seq {document['seq']}",
        f"rows {document['rows_seen']}",
    ]
    if document["tickets_left_out"]:
        parts.append(f"{document['tickets_left_out']} older documents not looked at")
    return [first, Text(GAP.join(parts), style="dim")]
