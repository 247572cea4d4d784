"""A replay as its user sees it: the same digest everywhere, no look ahead, the account's days and hours, its errors."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import hands.replay
from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.replay.outcome import Replay
from hands.replay.player import ReplayError
from hands.replay.run import replay
from tests.replay.markets import LOOSE, NOON, Recorded, intent, limits_file, some_intents, walk

HOUR_NS = 3600 * NS_PER_S
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return limits_file(tmp_path_factory.mktemp("limits"), **LOOSE)


def quotes(*rows: tuple[int, float, float], symbol: str = "AAPL", size: float = 1_000) -> Recorded:
    """Return a market of quotes: (ms after noon, bid, ask)."""
    made = new_rows(len(rows))
    made["kind"], made["flags"] = RowKind.QUOTE, RowFlag.ELIGIBLE
    made["recv_ns"] = made["venue_ns"] = [NOON + at * NS_PER_MS for at, _, _ in rows]
    made["price"], made["price2"] = [bid for _, bid, _ in rows], [ask for _, _, ask in rows]
    made["size"] = made["size2"] = size
    return Recorded((symbol,), made)


def at(ms: int) -> int:
    return NOON + ms * NS_PER_MS


def codes(found: Replay) -> list[str]:
    return [verdict.code for verdict in found.verdicts]


# --- the digest --------------------------------------------------------------------------------------------

_ELSEWHERE = """
import sys
from pathlib import Path
from hands.replay import replay
from tests.replay.markets import some_intents, walk
market = walk(("BTC/USD", "AAPL"), 600, 4, step_ms=400, jump=0.001)
print(replay(market, some_intents(market, 10, 4), limits=Path(sys.argv[1]), batch_rows=7).digest)
"""


def test_the_digest_is_the_same_in_another_process_and_with_another_batch_size(law: Path) -> None:
    market = walk(("BTC/USD", "AAPL"), 600, 4, step_ms=400, jump=0.001)
    found = replay(market, some_intents(market, 10, 4), limits=law)
    elsewhere = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, str(law)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert elsewhere.stdout.strip() == found.digest
    assert found.trades, "nothing happened, so nothing was shown"


def test_the_digest_tells_of_a_difference_in_the_market_the_documents_the_limits_and_the_seed(
    law: Path, tmp_path: Path
) -> None:
    market = walk(("AAPL",), 400, 5, step_ms=400)
    arrivals = some_intents(market, 6, 5)
    other = Recorded(market.symbols, market.all.copy())
    prints = np.flatnonzero((market.all["kind"] == RowKind.TRADE) & (market.all["flags"] == 1))
    other.all["size"][prints[len(prints) // 2]] += 1
    tighter = limits_file(tmp_path, **LOOSE, max_position_size=0.05)
    found = {
        replay(market, arrivals, limits=law).digest,
        replay(other, arrivals, limits=law).digest,
        replay(market, arrivals[1:], limits=law).digest,
        replay(market, arrivals, limits=tighter).digest,
        replay(market, arrivals, limits=law, equity=50_000).digest,
        replay(market, arrivals, limits=law, seed=1).digest,
    }
    assert len(found) == 6


def test_a_market_can_be_named(law: Path) -> None:
    named = replay("synthetic:7:1m", limits=law)
    assert named.digest == replay(["synthetic:7:1m"], limits=law).digest
    assert named.rows > 1_000


def test_the_library_has_one_name() -> None:
    assert hands.replay.replay is replay
    with pytest.raises(AttributeError, match="no attribute 'play'"):
        _ = hands.replay.play  # type: ignore[attr-defined]


# --- no look ahead -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_what_comes_later_changes_nothing_that_was_before(law: Path, seed: int) -> None:
    market = walk(("AAPL", "SPY"), 500, seed, step_ms=400, jump=0.001)
    arrivals = some_intents(market, 8, seed)
    cut = 120 + 55 * seed
    until_ns = int(market.all["recv_ns"][cut - 1])
    part = replay(Recorded(market.symbols, market.all[:cut].copy()), arrivals, limits=law, session="calendar")
    whole = replay(market, arrivals, limits=law, session="calendar")

    def before(found: Replay) -> tuple[object, ...]:
        verdicts = [(v.intent_id, v.verdict, v.code, v.at_ns) for v in found.verdicts if v.at_ns < until_ns]
        return verdicts, [fill for fill in found.fills if fill.at_ns < until_ns]

    assert before(part) == before(whole)


def test_an_order_meets_the_market_as_it_is_when_it_arrives(law: Path) -> None:
    """Decided at 150.00, but when the order arrives 20 ms later the ask is lower: it fills there. 5 ms later it is higher."""
    market = quotes((0, 149.98, 150.0), (110, 149.93, 149.95), (125, 149.99, 150.01), (5_000, 149.99, 150.01))
    found = replay(market, [intent(1, at(100), "AAPL", 150.0)], limits=law, latency_ms=20)
    [fill] = found.fills
    assert (fill.price, fill.at_ns) == (Decimal("149.95"), at(120))
    late = replay(market, [intent(1, at(100), "AAPL", 150.0)], limits=law, latency_ms=26)
    assert [fill.price for fill in late.fills] == [Decimal("150.01")]


def test_a_fill_is_known_as_late_as_its_report_takes(law: Path) -> None:
    market = quotes((0, 149.98, 150.0), *((ms, 149.98, 150.0) for ms in range(1_000, 9_000, 1_000)))
    arrivals = [intent(1, at(100), "AAPL", 150.0), intent(2, at(130), "AAPL", 150.0)]
    found = replay(market, arrivals, limits=law, latency_ms=20)
    assert codes(found) == ["OK", "SYMBOL_BUSY"]
    acked = found.ledger.execute("SELECT acked_ns FROM orders WHERE leg = 'entry'").fetchone()
    assert acked[0] == at(140)


def test_a_quote_of_the_same_moment_comes_after_the_order(law: Path) -> None:
    market = quotes((0, 149.98, 150.0), (120, 149.93, 149.95), (5_000, 149.99, 150.01))
    found = replay(market, [intent(1, at(100), "AAPL", 150.0)], limits=law, latency_ms=20)
    assert [fill.price for fill in found.fills] == [Decimal(150)]


# --- documents and their times -----------------------------------------------------------------------------


def test_documents_of_the_past_are_judged_at_their_own_time(law: Path) -> None:
    market = quotes(*((ms, 149.98, 150.0) for ms in range(0, 60_000, 500)))
    late = intent(2, at(30_000), "AAPL", 150.0)._replace(at_ns=at(50_000))  # written 20 s before it arrives
    early = intent(3, at(-5_000), "AAPL", 150.0)
    after = intent(4, at(70_000), "AAPL", 150.0)
    found = replay(market, [late, intent(1, at(20_000), "AAPL", 150.0), early, after], limits=law)
    assert codes(found) == ["OK", "EXPIRED"]
    assert [found.counters[name] for name in ("documents", "documents_before", "documents_after")] == [
        2,
        1,
        1,
    ]
    assert [verdict.at_ns for verdict in found.verdicts] == [at(20_000), at(50_000)]


def test_a_quiet_symbol_is_asked_for_like_live(law: Path) -> None:
    """A quote of a minute ago is too old, but the venue, asked, says that it is its latest: 20 ms there, 20 ms back."""
    market = quotes((0, 149.98, 150.0), (90_000, 149.98, 150.0))
    found = replay(market, [intent(1, at(60_000), "AAPL", 150.0)], limits=law, latency_ms=20)
    assert codes(found) == ["OK"]
    assert found.verdicts[0].at_ns == at(60_040)


def test_the_account_is_never_stale_after_quiet_hours(law: Path) -> None:
    hours = [(h * 3_600_000, 149.98, 150.0) for h in range(5)]
    found = replay(
        quotes(*hours), [intent(1, at(3 * 3_600_000 + 1), "AAPL", 150.0, max_hold_seconds=1)], limits=law
    )
    assert codes(found) == ["OK"]
    assert found.counters["decisions"] < 60, "nothing was open, so nothing had to be asked"


def test_start_and_end_cut_the_market(law: Path) -> None:
    market = quotes(*((ms, 149.98, 150.0) for ms in range(0, 10_000, 1_000)))
    found = replay(market.cut(3), limits=law, start=at(2_000), end=at(7_000))
    assert (found.rows, found.from_ns, found.to_ns) == (5, at(2_000), at(6_000))


# --- days, hours, money ----------------------------------------------------------------------------------


def test_the_day_rolls_and_its_counters_begin_again(tmp_path: Path) -> None:
    law = limits_file(tmp_path, **(LOOSE | {"max_daily_trades": 1}))
    day = 24 * 3_600_000
    moments = [ms for start in (0, day) for ms in range(start, start + 60_000, 1_000)]
    market = quotes(*((ms, 149.98, 150.0) for ms in moments))
    arrivals = [
        intent(n, at(ms), "AAPL", 150.0, max_hold_seconds=1)
        for n, ms in enumerate((1_100, 20_100, day + 5_100))
    ]
    found = replay(market, arrivals, limits=law)
    assert codes(found) == ["OK", "DAILY_TRADES", "OK"]
    assert [trade.exit_reason for trade in found.trades] == ["TIME", "TIME"]


def test_shares_trade_in_their_session_by_the_calendar_and_always_where_the_market_never_kept_to_it(
    law: Path,
) -> None:
    night = 10 * 3_600_000  # 01:00 UTC
    market = quotes(*((night + ms, 149.98, 150.0) for ms in range(0, 60_000, 1_000)))
    arrivals = [intent(1, at(night + 5_100), "AAPL", 150.0)]
    assert codes(replay(market, arrivals, limits=law, session="calendar")) == ["SESSION_CLOSED"]
    found = replay(market, arrivals, limits=law)
    assert (codes(found), found.session) == (["OK"], "always")


def test_how_a_market_is_cut_does_not_decide_when_its_shares_trade(law: Path) -> None:
    """Its first two rows lie before the exchanges' day begins, all the others in the session."""
    early = -7 * 3_600_000
    market = quotes(
        (early, 149.98, 150.0),
        (early + 1, 149.98, 150.0),
        *((ms, 149.98, 150.0) for ms in range(0, 600_000, 1_000)),
    )
    assert {replay(market.cut(size), limits=law).session for size in (1, 2, 100, 10_000)} == {"calendar"}


@pytest.mark.parametrize("fills", ["realistic", "instant"])
def test_what_the_trades_made_is_what_the_account_has_more(law: Path, fills: str) -> None:
    """The engine's books and the exchange's are kept apart; they must agree to the cent."""
    seen = 0
    for seed in range(6):
        market = walk(("AAPL", "SPY"), 600, seed, step_ms=400, jump=0.001)
        found = replay(market, some_intents(market, 10, seed), limits=law, fills=fills)
        seen += len(found.trades)
        gain = found.equity[-1].equity - found.opening_equity
        held = {fill.intent_id for fill in found.fills} - {trade.intent_id for trade in found.trades}
        part = sum((_gone(found, intent_id) for intent_id in held), Decimal(0))
        held_pnl = sum((each.pnl for each in found.open_positions), Decimal(0))
        assert abs(gain - found.realised_pnl - held_pnl - part) < Decimal("0.001")
        assert abs(found.open_pnl - held_pnl - part) < Decimal("0.001")
    assert seen > 10


def _gone(found: Replay, intent_id: str) -> Decimal:
    """Return what a trade that is still open has already brought, of the part that was sold again."""
    fills = [fill for fill in found.fills if fill.intent_id == intent_id]
    entry = [fill for fill in fills if fill.leg == "entry"]
    out = [fill for fill in fills if fill.leg != "entry"]
    if not out or not entry:
        return Decimal(0)
    cost = sum(f.price * f.qty for f in entry) / sum(f.qty for f in entry)
    sign = 1 if entry[0].side == "buy" else -1
    return sum((sign * (f.price - cost) * f.qty for f in out), Decimal(0))


def test_coins_pay_their_fee(law: Path) -> None:
    market = quotes(*((ms, 149.98, 150.0) for ms in range(0, 30_000, 500)), symbol="SOL/USD")
    found = replay(market, [intent(1, at(2_100), "SOL/USD", 150.0, max_hold_seconds=5)], limits=law)
    [trade] = found.trades
    assert trade.fees > 0
    assert trade.pnl < 0
    assert abs((found.equity[-1].equity - found.opening_equity) - trade.pnl) < Decimal("0.05")


def test_what_is_still_held_is_told(law: Path) -> None:
    market = quotes(*((ms, 149.98, 150.0) for ms in range(0, 5_000, 500)), (9_000, 150.4, 150.42))
    found = replay(market, [intent(1, at(2_100), "AAPL", 150.0)], limits=law)
    [held] = found.open_positions
    assert (held.symbol, held.avg_price, held.mark) == ("AAPL", Decimal(150), Decimal("150.41"))
    assert found.open_pnl == held.pnl == held.qty * Decimal("0.41")
    [receipt] = found.ledger.execute("SELECT state, receipt FROM intents").fetchall()
    assert receipt["state"] == "OPEN"
    assert receipt["receipt"]


# --- what cannot be played ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fills": "hopeful"}, "realistic or instant"),
        ({"session": "nightly"}, "auto, calendar or always"),
        ({"latency_ms": -1}, "from 0 to 2000"),
        ({"equity": "1e400"}, "equity"),
        ({"equity": 0}, "equity is 0"),
        ({"batch_rows": 0}, "at least one row"),
        ({"symbols": ["TSLA"]}, "not allowed there: TSLA"),
        ({"start": NOON + HOUR_NS}, "no rows to play"),
        ({"periods": {"*": {"rsi": -3}}}, "rsi"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(law: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        replay(quotes((0, 149.98, 150.0)), limits=law, **changes)  # type: ignore[arg-type]


def test_rows_that_are_no_market_are_refused(law: Path) -> None:
    market = quotes((1_000, 149.98, 150.0), (0, 149.98, 150.0))
    with pytest.raises(ReplayError, match="not in the order"):
        replay(market, limits=law)
    with pytest.raises(ReplayError, match="not in the order"):
        replay(market.cut(1), limits=law)
    in_ms = quotes((0, 149.98, 150.0))
    in_ms.all["recv_ns"] //= NS_PER_MS
    with pytest.raises(ReplayError, match="Unix nanoseconds"):
        replay(in_ms, limits=law)
    packed = np.zeros(3, [("sym", "i4"), ("recv_ns", "i8")])
    packed["recv_ns"] = NOON
    with pytest.raises(ReplayError, match="arrays of ROW"):
        replay(Recorded(("AAPL",), packed), limits=law, session="always")
