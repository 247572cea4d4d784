from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import math
from typing import Any

import pytest

from hands.core.units import CENT, NANO, NS_PER_S
from hands.sim.market.halts import DURING_PAUSE, INTRADAY, OPENING, REOPENING, REOPENING_PRINT
from hands.sim.market.phases import Phase
from hands.sim.market.regimes import PAUSE_S, REGIMES
from hands.sim.market.synthetic import BATCH_NS, Rate, SyntheticTape, start_price_usd
from hands.sim.market.volume_curve import VolumeCurve
from hands.sim.venue.calendar import unix_ns
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Status, Trade

START_NS = 1_700_000_000 * NS_PER_S
SYMBOLS = ("AAPL", "SPY", "BTC/USD", "SOL/USD", "ETH/USD", "XYZ", "DOGE/USD")


SLOW = Rate(quotes_per_s=1.0, trades_per_s=0.5)


def play(tape: SyntheticTape, seconds: float) -> list[MarketEvent]:
    end_ns = tape.start_ns + int(seconds * NS_PER_S)
    batches = itertools.takewhile(lambda batch: batch[0] < end_ns, tape)
    return [tick for _, ticks in batches for tick in ticks]


def test_the_same_seed_gives_identical_ticks_and_another_seed_does_not() -> None:
    first = play(SyntheticTape(SYMBOLS, 7, START_NS), 20)
    assert first == play(SyntheticTape(SYMBOLS, 7, START_NS), 20)
    assert first != play(SyntheticTape(SYMBOLS, 8, START_NS), 20)


def test_iterating_twice_starts_from_the_beginning_twice() -> None:
    tape = SyntheticTape(["AAPL"], 1, START_NS)
    assert play(tape, 5) == play(tape, 5)


def test_adding_a_symbol_does_not_change_another_ones_ticks() -> None:
    alone = play(SyntheticTape(["AAPL"], 3, START_NS), 30)
    together = play(SyntheticTape(["AAPL", "BTC/USD"], 3, START_NS), 30)
    assert alone == [tick for tick in together if tick.symbol == "AAPL"]


def test_every_symbol_opens_with_a_quote_at_the_start_near_its_price() -> None:
    _, ticks = next(iter(SyntheticTape(SYMBOLS, 1, START_NS)))
    opening = {tick.symbol: tick for tick in ticks[: len(SYMBOLS)]}
    assert set(opening) == set(SYMBOLS)
    for symbol, quote in opening.items():
        assert isinstance(quote, Quote)
        assert quote.t_ns == START_NS
        assert quote.bid / NANO == pytest.approx(start_price_usd(symbol), rel=0.001)


def test_batches_are_in_time_order_and_span_less_than_a_batch() -> None:
    last_ns = 0
    for t_ns, ticks in itertools.islice(SyntheticTape(SYMBOLS, 2, START_NS, Rate(200, 100)), 2_000):
        times = [tick.t_ns for tick in ticks]
        assert times == sorted(times)
        assert times[0] == t_ns > last_ns
        assert times[-1] < t_ns + BATCH_NS
        last_ns = times[-1]


def test_the_plain_market_is_the_one_it_always_was() -> None:
    """Demonstrations and benchmarks know it by heart; a new regime must not draw from its streams."""
    batches = itertools.islice(SyntheticTape(("AAPL", "SPY", "BTC/USD", "DOGE/USD"), 3, START_NS), 2_000)
    told = hashlib.sha256()
    for t_ns, ticks in batches:
        told.update(repr((t_ns, list(ticks))).encode())
    assert told.hexdigest() == "217bb2d47cae7b979827d805baee0db2363e4098f4faffc7f16acd4853748530"


def test_quotes_are_never_crossed_and_spreads_are_tight() -> None:
    for tick in play(SyntheticTape(SYMBOLS, 5, START_NS), 60):
        if isinstance(tick, Quote):
            assert 0 < tick.bid < tick.ask
            assert tick.bid_size > 0
            assert tick.ask_size > 0
            if "/" in tick.symbol:
                assert (tick.ask - tick.bid) / tick.bid < 4.2e-4
            else:
                assert (tick.ask - tick.bid) // CENT in {1, 2, 3}
                assert tick.bid % CENT == 0


def test_trades_print_at_the_bid_or_the_ask_of_the_last_quote_with_rising_ids() -> None:
    quotes: dict[str, Quote] = {}
    ids: dict[str, int] = {}
    for tick in play(SyntheticTape(SYMBOLS, 9, START_NS), 60):
        if isinstance(tick, Trade):
            quote = quotes[tick.symbol]
            assert tick.price in {quote.bid, quote.ask}
            assert tick.trade_id > ids.get(tick.symbol, 0)
            if "/" in tick.symbol:
                assert tick.conditions == (("B",) if tick.price == quote.ask else ("S",))
            else:
                assert tick.size % NANO == 0
            ids[tick.symbol] = tick.trade_id
        else:
            quotes[tick.symbol] = tick


def test_arrivals_follow_the_rate() -> None:
    ticks = play(SyntheticTape(["AAPL"], 4, START_NS, Rate(quotes_per_s=20, trades_per_s=5)), 400)
    quotes = sum(isinstance(tick, Quote) for tick in ticks)
    assert quotes / 400 == pytest.approx(20, rel=0.1)
    assert (len(ticks) - quotes) / 400 == pytest.approx(5, rel=0.1)


def test_a_price_moves_but_stays_near_its_start_for_an_hour() -> None:
    mids = [t.bid / NANO for t in play(SyntheticTape(["AAPL"], 6, START_NS), 3600) if isinstance(t, Quote)]
    assert max(mids) - min(mids) > 0.1
    assert 140 < min(mids) <= max(mids) < 160


def test_a_market_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one symbol"):
        SyntheticTape([], 1, START_NS)
    with pytest.raises(ValueError, match="needs quotes"):
        Rate(quotes_per_s=0)
    with pytest.raises(ValueError, match="allowed: calm, trend, chop, gap, crash, halt, mixed"):
        SyntheticTape(["AAPL"], 1, START_NS, regime="bull")
    with pytest.raises(ValueError, match="from 0 to below 1"):
        SyntheticTape(["AAPL"], 1, START_NS, correlation=1.0)


# -- regimes --------------------------------------------------------------------------------------------------


def mids(events: list[MarketEvent], symbol: str) -> list[tuple[float, float]]:
    """(seconds since the start, mid in dollars) of a symbol's quotes."""
    return [
        ((event.t_ns - START_NS) / NS_PER_S, (event.bid + event.ask) / 2 / NANO)
        for event in events
        if isinstance(event, Quote) and event.symbol == symbol
    ]


def regime(name: str, seconds: float, *symbols: str, seed: int = 1, **options: Any) -> list[MarketEvent]:
    return play(SyntheticTape(symbols or ("AAPL",), seed, START_NS, SLOW, regime=name, **options), seconds)


@pytest.mark.parametrize("name", REGIMES)
def test_every_regime_is_in_time_uncrossed_and_the_same_every_time(name: str) -> None:
    symbols = ("AAPL", "BTC/USD")
    options: dict[str, Any] = {"correlation": 0.5}
    events = regime(name, 1800, *symbols, **options)
    assert events == regime(name, 1800, *symbols, **options)
    assert events != regime(name, 1800, *symbols, seed=2, **options)
    times = [event.t_ns for event in events]
    assert times == sorted(times)
    quotes = [event for event in events if isinstance(event, Quote)]
    assert all(0 < quote.bid < quote.ask for quote in quotes)
    assert {quote.symbol for quote in quotes} == set(symbols)


@pytest.mark.parametrize("name", REGIMES)
def test_another_symbol_changes_nothing_in_any_regime(name: str) -> None:
    alone = regime(name, 900, "AAPL", correlation=0.5)
    together = regime(name, 900, "AAPL", "MSFT", "ETH/USD", correlation=0.5)
    assert alone == [event for event in together if event.symbol == "AAPL"]


def test_a_trend_goes_further_than_noise_and_a_chop_does_not() -> None:
    def width(name: str) -> float:
        prices = [mid for _, mid in mids(regime(name, 3600), "AAPL")]
        return max(prices) / min(prices) - 1

    assert width("trend") > 2 * width("calm")
    chop = [mid for _, mid in mids(regime("chop", 3600), "AAPL")]
    crossings = sum((a < 150) != (b < 150) for a, b in itertools.pairwise(chop))
    assert width("chop") < 0.03
    assert crossings > 30


def test_gaps_jump_by_percents_between_one_quote_and_the_next() -> None:
    prices = [mid for _, mid in mids(regime("gap", 1800), "AAPL")]
    jumps = [abs(b / a - 1) for a, b in itertools.pairwise(prices)]
    big = [jump for jump in jumps if jump > 0.01]
    assert 5 <= len(big) <= 30
    assert all(0.012 < jump < 0.045 for jump in big)
    assert sorted(jumps)[-len(big) - 1] < 0.005


def test_a_crash_takes_every_symbol_down_at_once_and_most_of_it_comes_back() -> None:
    symbols = ("AAPL", "SPY", "XYZ", "BTC/USD")
    events = regime("crash", 1100, *symbols)
    lows = {}
    for symbol in symbols:
        told = mids(events, symbol)
        low_s, low = min(told, key=lambda pair: pair[1])
        lows[symbol] = low_s
        depth = 1 - low / start_price_usd(symbol)
        back = (told[-1][1] - low) / (start_price_usd(symbol) - low)
        assert 0.035 < depth < 0.20
        assert 0.6 < back < 1.05
    assert max(lows.values()) - min(lows.values()) < 25


def test_returns_correlate_as_asked_and_not_at_all_by_default() -> None:
    def correlation(asked: float) -> float:
        events = play(SyntheticTape(("SPY", "QQQ"), 5, START_NS, Rate(1, 0), correlation=asked), 4 * 3600)
        series = []
        for symbol in ("SPY", "QQQ"):
            last = {int(second // 60): mid for second, mid in mids(events, symbol)}
            series.append([math.log(last[n + 1] / last[n]) for n in range(235)])
        return _correlation(*series)

    assert abs(correlation(0.0)) < 0.25
    assert correlation(0.6) == pytest.approx(0.6, abs=0.2)
    assert correlation(0.9) > 0.75


def _correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


@pytest.mark.parametrize(
    ("symbol", "codes"), [("AAPL", ("P", "T")), ("SPY", ("2", "3"))], ids=["nasdaq", "consolidated"]
)
def test_a_halt_is_announced_silent_and_followed_by_a_reopening(symbol: str, codes: tuple[str, str]) -> None:
    events = regime("halt", 900, symbol)
    statuses = [event for event in events if isinstance(event, Status)]
    halt, resume = statuses[:2]
    assert (halt.status_code, resume.status_code) == codes
    assert (halt.is_halt, resume.is_halt) == (True, False)
    assert (resume.t_ns - halt.t_ns) / NS_PER_S == pytest.approx(PAUSE_S, abs=5)
    during = [event for event in events if halt.t_ns < event.t_ns < resume.t_ns]
    assert during == []
    after = events[events.index(resume) :]
    band, quote, print_ = after[1:4]
    assert isinstance(band, PriceBand)
    assert band.indicator == REOPENING
    assert isinstance(quote, Quote)
    assert isinstance(print_, Trade)
    assert REOPENING_PRINT in print_.conditions
    assert quote.t_ns == print_.t_ns == resume.t_ns


@pytest.mark.parametrize("seed", range(6))
def test_prints_stay_inside_the_price_bands_until_the_pause(seed: int) -> None:
    events = regime("halt", 600, "AAPL", seed=seed)
    band: PriceBand | None = None
    seen = set()
    for event in events:
        if isinstance(event, PriceBand):
            seen.add(event.indicator)
            band = event
        elif isinstance(event, Trade):
            assert band is not None
            if band.indicator == INTRADAY:
                assert band.limit_down <= event.price <= band.limit_up
    assert seen >= {OPENING, INTRADAY, DURING_PAUSE}


def test_coins_are_never_halted() -> None:
    events = regime("halt", 3600, "BTC/USD")
    assert all(isinstance(event, Quote | Trade) for event in events)
    times = [event.t_ns for event in events]
    assert max(b - a for a, b in itertools.pairwise(times)) < 60 * NS_PER_S


def test_a_mixed_market_corrects_and_cancels_prints_it_has_made() -> None:
    events = play(SyntheticTape(("AAPL",), 1, START_NS, Rate(2, 4), regime="mixed"), 1800)
    printed: dict[int, Trade] = {}
    mistakes = 0
    for event in events:
        if isinstance(event, Trade):
            printed[event.trade_id] = event
        elif isinstance(event, Correction):
            mistakes += 1
            assert printed[event.original.trade_id] == event.original
            assert event.corrected.trade_id not in printed
            assert event.corrected.price != event.original.price
            assert event.t_ns > event.original.t_ns
        elif isinstance(event, Cancellation):
            mistakes += 1
            assert printed[event.trade.trade_id] == event.trade
    assert 5 < mistakes < len(printed) / 100
    assert any(isinstance(event, Correction) for event in events)
    assert any(isinstance(event, Cancellation) for event in events)


# -- the volume curve -----------------------------------------------------------------------------------------


FRIDAY = dt.date(2026, 3, 13)  # the Monday after it is an ordinary one


def test_stocks_are_busy_at_the_open_and_the_close_and_silent_at_night() -> None:
    start_ns = unix_ns(FRIDAY, dt.time(3, 0))
    tape = SyntheticTape(("AAPL",), 1, start_ns, Rate(0.3, 0.1), volume_curve=True)
    times = [event.t_ns for event in play(tape, 3 * 86_400 + 4 * 3600)]

    def between(start: tuple[int, int], end: tuple[int, int]) -> int:
        """How much happens between two (day of March, hour) of New York."""
        from_ns, until_ns = (unix_ns(dt.date(2026, 3, day), dt.time(hour)) for day, hour in (start, end))
        return sum(from_ns <= t_ns < until_ns for t_ns in times[1:])

    assert between((13, 15), (13, 16)) > 2 * between((13, 12), (13, 13)) > 10 * between((13, 6), (13, 7)) > 0
    assert between((13, 20), (16, 4)) == 0
    assert between((16, 4), (16, 7)) > 0
    assert times[0] == start_ns  # one quote opens the market, whenever it begins


def test_coins_know_no_hours() -> None:
    tape = SyntheticTape(("BTC/USD",), 1, START_NS, Rate(0.3, 0.1))
    with_curve = SyntheticTape(("BTC/USD",), 1, START_NS, Rate(0.3, 0.1), volume_curve=True)
    assert play(tape, 6 * 3600) == play(with_curve, 6 * 3600)


def test_the_first_regular_print_and_the_first_after_the_close_are_the_auctions() -> None:
    start_ns = unix_ns(FRIDAY, dt.time(9, 0))
    events = play(SyntheticTape(("AAPL",), 1, start_ns, Rate(0.5, 0.5), volume_curve=True), 8 * 3600)
    prints = [event for event in events if isinstance(event, Trade)]
    auctions = [(letter, t.t_ns) for t in prints for letter in ("O", "6") if letter in t.conditions]
    open_ns, close_ns = unix_ns(FRIDAY, dt.time(9, 30)), unix_ns(FRIDAY, dt.time(16))
    assert [letter for letter, _ in auctions] == ["O", "6"]
    assert auctions[0][1] == min(t.t_ns for t in prints if t.t_ns >= open_ns)
    assert auctions[1][1] == min(t.t_ns for t in prints if t.t_ns >= close_ns)


def test_the_curve_averages_one_over_a_session_and_knows_half_days() -> None:
    curve = VolumeCurve()
    open_ns = unix_ns(FRIDAY, dt.time(9, 30))
    minutes = [curve.activity(open_ns + n * 60 * NS_PER_S + 30 * NS_PER_S) for n in range(390)]
    assert sum(minutes) / 390 == pytest.approx(1.0, abs=0.001)
    christmas_eve = dt.date(2026, 12, 24)
    for hour, minute, phase in ((12, 59, Phase.CORE), (13, 0, Phase.POST), (17, 0, Phase.CLOSED)):
        assert curve.phase(unix_ns(christmas_eve, dt.time(hour, minute))) is phase
    assert curve.activity(unix_ns(dt.date(2026, 12, 25), dt.time(12))) == 0.0
