"""A recorded session through the wire: what the daemon makes of it, against plain arithmetic on the same tape.

Two sides that share no code: the daemon's compiled kernel, fed by frames; and a few lines of numpy on what the
exchange says it published (its own history, by REST). Bars are of one second, since the tape runs a hundred times
faster than the day did.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.harness import Floor, until

pytestmark = [pytest.mark.e2e, pytest.mark.data]

OPEN_MS = 1_381_239_000_000
MINUTES = 34
SPEED = 120
LEADS_S = (3, 15, 60)
"""The tape begins with one print, and then is silent for so long: time for the daemon to subscribe (it has the print
from history). Where a busy machine needs longer, it begins again with the next."""

PRICES = {"", " ", "@", "E", "F", "K", "L", "O", "X", "5", "6"}
VOLUME = set("BCGHINPRTUVWZ47")
"""Sale conditions of shares that changed hands, though not at the market's price of now."""

LATE_NS = 10**9


def _slice(source: Path, target: Path, first: list[str], last: list[list[str]]) -> None:
    """Write the rows of the first minutes of the session between a print of long before and one of after."""
    with gzip.open(source, "rt", newline="") as file, target.open("w", newline="") as out:
        rows, writer = csv.reader(file), csv.writer(out)
        writer.writerow(next(rows))
        if first:
            writer.writerow(first)
        until_ms = OPEN_MS + MINUTES * 60_000
        writer.writerows(row for row in rows if OPEN_MS <= int(row[0]) < until_ms)
        writer.writerows(last)


def _tape(data_dir: Path, target: Path, lead_s: int) -> tuple[list[str], int]:
    """Return the tape's files and how many trades they hold."""
    folder, after_ms = data_dir / "equity" / "ticks", OPEN_MS + MINUTES * 60_000 + SPEED * 1_500
    trades, quotes = target / f"BAC_trades_{lead_s}.csv", target / f"BAC_quotes_{lead_s}.csv"
    lead = [str(OPEN_MS - lead_s * SPEED * 1000), "13.8000", "100", "P", "0", "0"]
    _slice(
        folder / "BAC_20131008_trades.csv.gz",
        trades,
        lead,
        [[str(after_ms), "13.7700", "100", "P", "0", "0"]],
    )
    _slice(folder / "BAC_20131008_quotes.csv.gz", quotes, [], [])
    with trades.open(newline="") as file:
        kept = [
            r
            for r in csv.DictReader(file)
            if r["suspicious"] == "0" and float(r["price"]) and float(r["size"])
        ]
    return [str(trades), str(quotes)], len(kept)


def _in_time(new_floor: Callable[..., Floor], data_dir: Path, target: Path) -> tuple[Floor, int]:
    """Return a floor whose daemon is ready before the tape's silence ends, and the number of its trades."""
    for lead_s in LEADS_S:
        files, count = _tape(data_dir, target, lead_s)
        floor = new_floor(tape=files, speed=SPEED)
        floor.limits.write_text(floor.limits.read_text().replace('allow = ["AAPL"', 'allow = ["BAC"'))
        floor.setting(intervals_s="[1, 5]")
        floor.launch().ready()
        if len(_published(floor)) == 1:
            return floor, count
        floor.close()
    raise AssertionError(f"the daemon took longer than {LEADS_S[-1]} s to start")


def test_indicators_of_a_recorded_session_are_those_of_plain_arithmetic(
    new_floor: Callable[..., Floor], data_dir: Path, tmp_path: Path
) -> None:
    floor, count = _in_time(new_floor, data_dir, tmp_path)
    trades = until("the tape's end", lambda: len(found := _published(floor)) == count and found, within_s=60)
    counted = [trade for trade in trades if (PRICES | VOLUME).issuperset(trade["c"])]
    heard = [trade for trade in counted if PRICES.issuperset(trade["c"])]
    assert len(heard) > 5_000
    assert len(heard) < len(counted), "the slice has no odd sale conditions"
    money = math.fsum(trade["p"] * trade["s"] for trade in counted)
    prices = np.array([trade["p"] for trade in heard])
    times = np.array([_ns(trade["t"]) for trade in heard])
    expected_volume = math.fsum(trade["s"] for trade in counted)
    until("the daemon has it all", lambda: _indicators(floor)["volume"] == expected_volume)
    found = _indicators(floor)

    assert found["vwap"] == pytest.approx(money / expected_volume, rel=1e-12)
    in_sequence = times >= np.maximum.accumulate(times) - LATE_NS
    ticks = prices[in_sequence]
    _same(found, "tick_", _rsi(ticks), _macd(ticks))
    closes = _closes(prices, times, in_sequence)
    assert len(closes) >= 15
    _same(found, "", _rsi(closes), _macd(closes))
    assert found["rsi_14"] is not None
    quote = floor.ask(do="quote", symbols=["BAC"])["quotes"][0]
    assert float(quote["last"]) == ticks[-1]
    _, latest = floor.request("GET", "/v2/stocks/BAC/quotes/latest")
    assert (float(quote["bid"]), float(quote["ask"])) == (latest["quote"]["bp"], latest["quote"]["ap"])


def _same(
    found: dict[str, Any], prefix: str, rsi: float | None, macd: tuple[float | None, float | None]
) -> None:
    for name, expected in (("rsi_14", rsi), ("macd", macd[0]), ("macd_signal", macd[1])):
        value = found[prefix + name]
        if expected is None:
            assert value is None, name
        else:
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-10), prefix + name


def _published(floor: Floor) -> list[dict[str, Any]]:
    """Return every trade that the exchange published, by its history."""
    return list(_pages(floor, "/v2/stocks/BAC/trades?start=2020-01-01&limit=10000"))


def _pages(floor: Floor, path: str) -> Iterator[dict[str, Any]]:
    token = ""
    while token is not None:
        status, page = floor.request("GET", path + (f"&page_token={token}" if token else ""))
        assert status == 200, page
        yield from page["trades"] or ()
        token = page["next_page_token"]


def _ns(text: str) -> int:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(
        fraction.ljust(9, "0") or 0
    )


def _indicators(floor: Floor) -> dict[str, Any]:
    return floor.ask(do="quote", symbols=["BAC"])["quotes"][0]["indicators"]


# --- plain arithmetic ----------------------------------------------------------------------------------------


def _closes(prices: np.ndarray, times: np.ndarray, in_sequence: np.ndarray) -> np.ndarray:
    """The closes of the seconds that are over: all but the last, which is in progress."""
    rows = zip(times[in_sequence] // 10**9, prices[in_sequence], strict=True)
    seconds = [list(group)[-1][1] for _, group in itertools.groupby(rows, key=lambda row: row[0])]
    return np.array(seconds[:-1])


def _rsi(prices: np.ndarray, period: int = 14) -> float | None:
    changes = np.diff(prices)
    if len(changes) < period:
        return None
    ups, downs = np.clip(changes, 0, None), np.clip(-changes, 0, None)
    up, down = ups[:period].mean(), downs[:period].mean()
    for more_up, more_down in zip(ups[period:], downs[period:], strict=True):
        up = (up * (period - 1) + more_up) / period
        down = (down * (period - 1) + more_down) / period
    return float(100 * up / (up + down))


def _ema(values: np.ndarray, period: int) -> np.ndarray:
    out = [values[:period].mean()]
    for value in values[period:]:
        out.append(out[-1] + (value - out[-1]) * 2 / (period + 1))
    return np.array(out)


def _macd(prices: np.ndarray) -> tuple[float | None, float | None]:
    if len(prices) < 26:
        return None, None
    line = _ema(prices[26 - 12 :], 12) - _ema(prices, 26)
    signal = float(_ema(line, 9)[-1]) if len(line) >= 9 else None
    return float(line[-1]), signal
