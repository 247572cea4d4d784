from __future__ import annotations

import itertools

import pytest

from hands.core.units import CENT, NANO, NS_PER_S
from hands.sim.market.synthetic import BATCH_NS, Rate, SyntheticTape, start_price_usd
from hands.sim.venue.ticks import Quote, Tick, Trade

START_NS = 1_700_000_000 * NS_PER_S
SYMBOLS = ("AAPL", "SPY", "BTC/USD", "SOL/USD", "ETH/USD", "XYZ", "DOGE/USD")


def play(tape: SyntheticTape, seconds: float) -> list[Tick]:
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
