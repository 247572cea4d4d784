"""A strategy: when it is called, what it can and cannot see, what becomes of what it returns, and how it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hands.core.units import NS_PER_S
from hands.replay.outcome import Replay
from hands.replay.run import replay
from hands.replay.strategy import Strategy, StrategyError
from hands.replay.view import View, ViewIsOver
from tests.replay.markets import LOOSE, NOON, Recorded, limits_file, walk


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return limits_file(tmp_path_factory.mktemp("limits"), **LOOSE)


@pytest.fixture(scope="module")
def market() -> Recorded:
    """Ten minutes of two symbols."""
    return walk(("AAPL", "SPY"), 1_200, 8, step_ms=620, jump=0.0003, odd=0)


def play(market: Recorded, law: Path, **calls: Any) -> Replay:
    return replay(market, limits=law, strategy=Strategy("test", **calls), session="calendar")


def test_on_bar_is_called_once_for_each_bar_of_each_symbol_when_it_has_closed(
    market: Recorded, law: Path
) -> None:
    seen: list[tuple[str | None, int, int]] = []

    def on_bar(view: View) -> None:
        [bar] = view.bars(1)
        seen.append((view.symbol, bar.start_ns, view.now_ns))

    play(market, law, on_bar=on_bar)
    minutes = (int(market.all["recv_ns"][-1]) - NOON) // (60 * NS_PER_S)
    assert minutes >= 9
    for number, symbol in enumerate(market.symbols):
        own = [(start_ns, now_ns) for name, start_ns, now_ns in seen if name == symbol]
        assert [start_ns for start_ns, _ in own] == [NOON + n * 60 * NS_PER_S for n in range(minutes)]
        times = market.all["recv_ns"][market.all["sym"] == number]
        for start_ns, now_ns in own:  # at the first row after its end
            assert now_ns == int(times[times >= start_ns + 60 * NS_PER_S][0])


def test_a_year_without_a_row_is_passed_over(
    market: Recorded, law: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its minutes have no bars: the next one to be told is that of the first row after it."""
    rows = market.all.copy()
    for name in ("recv_ns", "venue_ns"):
        rows[name][600:] += 364 * 24 * 3_600 * NS_PER_S
    ends: list[int] = []
    ended = Strategy._bar_ended

    def counted(self: Strategy) -> None:
        ends.append(1)
        ended(self)

    monkeypatch.setattr(Strategy, "_bar_ended", counted)
    seen: list[int] = []
    play(Recorded(market.symbols, rows), law, on_bar=lambda view: seen.append(view.now_ns))
    assert len(ends) <= 14  # those of ten minutes, whatever lies between them
    assert all(any(first <= now_ns <= last for first, last in _minutes(rows)) for now_ns in seen)
    assert sum(now_ns > int(rows["recv_ns"][599]) for now_ns in seen) >= 8


def _minutes(rows: np.ndarray) -> list[tuple[int, int]]:
    """Return the two stretches in which there are rows."""
    times = rows["recv_ns"].tolist()
    return [(times[0], times[599]), (times[600], times[-1])]


def test_on_time_is_called_every_so_often(market: Recorded, law: Path) -> None:
    seen: list[int] = []
    play(market, law, on_time=lambda view: seen.append(view.now_ns), every_s=7.5)
    period = 7_500_000_000
    first, last = seen[0], int(market.all["recv_ns"][-1])
    assert first % period == 0
    assert seen == list(range(first, last + 1, period))


def test_being_there_changes_nothing(market: Recorded, law: Path) -> None:
    """One that looks at everything and says nothing leaves the market as it was."""

    def look(view: View) -> None:
        for symbol in view.symbols:
            view.quote(symbol), view.indicators(symbol), view.bars(3, symbol), view.position(symbol)

    alone = replay(market, limits=law, session="calendar")
    assert play(market, law, on_bar=look, on_time=look).digest == alone.digest


def test_how_the_market_is_cut_changes_nothing(market: Recorded, law: Path) -> None:
    digests = {play(market.cut(size), law, on_bar=dip, on_time=dip).digest for size in (17, 400, 1 << 20)}
    slow = replay(
        market,
        limits=law,
        strategy=Strategy("test", on_bar=dip, on_time=dip),
        session="calendar",
        one_by_one=True,
    )
    assert digests == {slow.digest}


def dip(view: View) -> list[dict[str, Any]]:
    """Buy whatever has no trade."""
    answers = []
    for symbol in view.symbols:
        quote = view.quote(symbol)
        if quote is not None and quote.ask is not None and view.position(symbol) is None:
            answers.append(
                view.intent(
                    "LONG",
                    round(quote.ask * 0.998, 2),
                    round(quote.ask * 1.005, 2),
                    symbol=symbol,
                    max_hold_seconds=20,
                )
            )
    return answers


def test_what_it_returns_is_judged_like_every_document(market: Recorded, law: Path) -> None:
    seen: list[Any] = []

    def act(view: View) -> list[dict[str, Any]]:
        seen.extend(view.answer(held.intent_id) for held in view.positions())
        return dip(view)

    found = play(market, law, on_time=act, every_s=10)
    assert found.verdicts_by_code["OK"] > 5
    assert {verdict.strategy_ref for verdict in found.verdicts} == {"test"}
    assert {(answer.verdict, answer.code) for answer in seen} == {("ACCEPTED", "OK")}
    assert len({verdict.intent_id for verdict in found.verdicts}) == len(found.verdicts)


def test_it_sees_its_position_and_its_equity(market: Recorded, law: Path) -> None:
    held: list[Any] = []

    def act(view: View) -> list[dict[str, Any]]:
        if (own := view.position("AAPL")) is not None and own.qty:
            held.append((own, view.equity))
        return [] if held else dip(view)

    play(market, law, on_time=act, every_s=5)
    own, equity = held[0]
    assert own.qty == pytest.approx(66, abs=2)
    assert own.stop < own.avg_price < own.target
    assert own.state == "OPEN"
    assert equity == pytest.approx(100_000, abs=200)


def test_a_view_is_over_when_the_call_is(market: Recorded, law: Path) -> None:
    kept: list[View] = []
    play(market, law, on_time=kept.append, every_s=60)
    for read in (
        lambda v: v.quote("AAPL"),
        lambda v: v.equity,
        lambda v: v.position("SPY"),
        lambda v: v.positions(),
    ):
        with pytest.raises(ViewIsOver, match="keep its values"):
            read(kept[0])


def test_a_view_answers_only_what_can_be_asked(market: Recorded, law: Path) -> None:
    said: list[str] = []

    def ask(view: View) -> None:
        for read in (lambda: view.quote("TSLA"), view.quote, lambda: view.bars(1, "SPY", 7)):
            with pytest.raises(ValueError) as caught:
                read()
            said.append(str(caught.value))

    play(market, law, on_time=ask, every_s=300)
    assert said[0].startswith("TSLA is not in this market")
    assert "say which symbol" in said[1]
    assert "no bars of 7 s" in said[2]


# --- files -------------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


CLASS = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Note:
    symbol: str

class Strategy:
    INTERVAL_S = 300
    AGENT = "momentum"

    def __init__(self):
        self.notes = []

    def on_bar(self, view):
        self.notes.append(Note(view.symbol))
        return {"direction": "LONG", "trigger_price": 1, "stop_loss": 0.5, "take_profit": 2, "confidence": 0.7}
"""


def test_a_class_remembers_and_may_be_an_agent(tmp_path: Path, market: Recorded, law: Path) -> None:
    found = replay(market, limits=law, strategy=written(tmp_path, CLASS), session="calendar")
    assert [(r.code, r.agent) for r in found.refused] == [("UNKNOWN_AGENT", "momentum")] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "neither on_bar"),
        ("def on_bar(view)", "SyntaxError"),
        ("import nothing_of_this_name\ndef on_bar(view): ...", "ModuleNotFoundError"),
        ("EVERY_S = 'often'\ndef on_time(view): ...", "EVERY_S is 'often'"),
        ("EVERY_S = 0\ndef on_time(view): ...", "EVERY_S is 0"),
        ("INTERVAL_S = 1.5\ndef on_bar(view): ...", "INTERVAL_S is 1.5"),
        (
            "class Strategy:\n    def __init__(self): raise OSError('no')\n    def on_bar(self, view): ...",
            "making Strategy",
        ),
    ],
)
def test_a_file_that_is_no_strategy_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StrategyError, match=says):
        Strategy.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return 'buy'", "a document is a dict"),
        ("return [7]", "a document is a dict"),
        ("return {'qty': view}", "cannot be JSON"),
    ],
)
def test_what_goes_wrong_in_it_is_told_with_its_own_lines(
    tmp_path: Path, market: Recorded, law: Path, body: str, says: str
) -> None:
    path = written(
        tmp_path,
        f"EVERY_S = 10\ndef deeper(view):\n    {body}\n\ndef on_time(view):\n    return deeper(view)\n",
    )
    with pytest.raises(StrategyError, match=says) as caught:
        replay(market, limits=law, strategy=path)
    told = str(caught.value)
    if "Zero" in says:
        assert f'File "{path}", line 6, in on_time' in told
        assert f'File "{path}", line 3, in deeper' in told
        assert "hands/replay" not in told


def test_bars_that_are_not_kept_are_refused(tmp_path: Path, market: Recorded, law: Path) -> None:
    with pytest.raises(StrategyError, match="bars are kept of 60, 300"):
        replay(market, limits=law, strategy=written(tmp_path, "INTERVAL_S = 7\ndef on_bar(view): ..."))
