"""How the report's figures are made, told on the page itself.

Owns that text; `docs/reports.md` says the same at length. The one idea: a number without its formula is an opinion.
"""

from __future__ import annotations

from hands.replay.headlines import FEW_DAYS
from hands.replay.plots import section
from hands.replay.report_data import Found
from hands.replay.words import said


def method(found: Found) -> str:
    f = found.document["headline"]
    days = "every calendar day" if f["days_per_year"] == 365 else "the days on which the exchanges are open"
    unit = (
        "the day's change in dollars (no capital is known; the ratio does not depend on it as long as it is constant)"
        if f["returns_of"] == "dollars"
        else "the day's change over the equity it began with"
    )
    said_of = (
        ("Result", "Net of fees, as the engine booked it at the end of each trade. Trades still held are not in it."),
        ("Equity curve", "Capital plus the sum of all trades. Where prices were recorded, a trade is marked at the close of each bar while it is held, fees so far taken off; where not, it counts from its end on."),
        ("Max drawdown", "The largest fall of that curve below its highest value so far, as a part of that value. The dollars are those of the largest fall in dollars, which may be another one. Between two points of the curve nothing is known."),
        ("Win rate", "Trades with a result above 0 over all that ended. The interval is Wilson's, 95 %."),
        ("Expectancy", "The mean result of a trade. In R: the mean of result over planned risk, the loss at the worst exit that sizing counted with, fees included."),
        ("Profit factor", "What the winners made over what the losers lost."),
        ("Sharpe", f"Mean over standard deviation (n \u2212 1) of daily returns, times \u221a{f['days_per_year']}; risk-free rate 0. A return is {unit}; the days are {days} from the first trade to the last, in {found.tz}. After \u00b1: Lo's standard error for independent returns. Fewer than {FEW_DAYS} days say little."),
        ("Sortino", f"Mean of the same returns over the root of the mean of min(return, 0)\u00b2, times \u221a{f['days_per_year']}."),
        ("Fees", "As the ledger has them. Those marked est. are estimated: the venue takes crypto fees at a rate by volume, of which the first tier is assumed."),
        ("Slippage", "Of an entry: average price against the trigger price; of a stop: fill against the stop's last level. Positive is worse, for longs and shorts."),
        ("Latency", "Differences of the receipt's stamps, which are taken on one monotonic clock. Percentiles by linear interpolation."),
        ("Protection", "Made up from the times of orders and fills as the ledger has them: a stop counts from the venue's word on, the stop of a bracket once its entry has filled or ended. Of coins, half a percent may be fees and dust that no stop covers."),
        ("Gates", "Each refused trade walked through the market after it, minute by minute, the worse taken where a minute leaves open what came first; the daemon does that at night."),
    )  # fmt: skip
    items = "".join(f"<dt>{said(name)}</dt><dd>{said(words)}</dd>" for name, words in said_of)
    return section("method", "How the figures are made", f'<dl class="method">{items}</dl>')
