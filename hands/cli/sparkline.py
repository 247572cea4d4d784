"""Lines of a series in one row of a terminal, and the series of the RSI that goes with a series of closes.

Owns the glyphs and that one formula. Pure functions; may not know where a number came from.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ABSENT = " "
RSI_PERIOD = 14
RSI_TOLERANCE = 2.0

Number = float | None


def spark(values: Sequence[Number], width: int, low: float | None = None, high: float | None = None) -> str:
    """Return the last `width` values as blocks between `low` and `high`, by default the least and the greatest of them.

    What is not known is a blank; a series that does not move runs along the middle.
    """
    shown = values[-width:] if width > 0 else ()
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    bottom = min(known) if low is None else low
    top = max(known) if high is None else high
    return "".join(ABSENT if value is None else _block(value, bottom, top) for value in shown)


def _block(value: float, bottom: float, top: float) -> str:
    if top <= bottom:
        return BLOCKS[len(BLOCKS) // 2 - 1]
    step = int((value - bottom) / (top - bottom) * len(BLOCKS))
    return BLOCKS[max(0, min(len(BLOCKS) - 1, step))]


def rsi_series(closes: Sequence[float], period: int = RSI_PERIOD) -> list[Number]:
    """Return the RSI at every close, None until it is defined: Wilder's averages, seeded by a plain mean.

    Source: J. Welles Wilder (1978), as TA-Lib computes it. What came before the first close is not known here, so the
    series begins a little beside the one of all closes and comes nearer by 1/`period` with every step.
    """
    found: list[Number] = [None] * min(period, len(closes))
    gain = loss = 0.0
    for number in range(1, len(closes)):
        change = closes[number] - closes[number - 1]
        up, down = max(change, 0.0), max(-change, 0.0)
        if number <= period:
            gain, loss = gain + up / period, loss + down / period
        else:
            gain, loss = (gain * (period - 1) + up) / period, (loss * (period - 1) + down) / period
        if number >= period:
            found.append(100.0 * gain / (gain + loss) if gain + loss else None)
    return found


def rsi_beside(
    closes: Sequence[float], forming: float | None, told: Number, period: int = RSI_PERIOD
) -> list[Number]:
    """Return the RSI to be drawn under `closes` and the bar in progress; empty where it would not be the one `told`.

    `told` is the RSI at the last close by who has seen all of them. Another past leads elsewhere, and then nothing is
    drawn.
    """
    series = rsi_series(closes, period)
    if told is None or not series or series[-1] is None or abs(series[-1] - told) > RSI_TOLERANCE:
        return []
    return series if forming is None else [*series, rsi_series([*closes, forming], period)[-1]]
