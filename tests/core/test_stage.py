"""A symbol made anew in parts beside the market is what one rebuild makes of it, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.bars import SPARE
from hands.core.market import Market, TriggerOn
from hands.core.stage import Stage
from tests.core.test_rebuild import ABOVE, NOW, S, feed, market_of_three, random_walk, trades


def of_sym(rows: np.ndarray, sym: int) -> np.ndarray:
    return rows[rows["sym"] == sym].copy()


@given(
    st.integers(0, 10**9),
    st.integers(0, 500),
    st.lists(st.integers(0, 600), max_size=6),
    st.integers(0, 200),
)
def test_parts_and_what_came_meanwhile_leave_what_one_rebuild_leaves(
    seed: int, checked: int, cuts: list[int], meanwhile: int
) -> None:
    """Some rows are lost at first; the market goes on while the stage replays."""
    rows = random_walk(600, seed)
    begun = max(checked, 600 - meanwhile)
    lost = np.zeros(600, bool)
    lost[checked:begun:3] = True
    whole, broken = market_of_three(), market_of_three()
    feed(whole, rows.copy())
    feed(broken, rows[:checked].copy())
    checkpoints = [broken.checkpoint(sym) for sym in range(3)]
    feed(broken, rows[checked:begun][~lost[checked:begun]])
    stages = [Stage(broken, checkpoint) for checkpoint in checkpoints]
    feed(broken, rows[begun:].copy())
    ends = [min(max(cut, checked), begun) for cut in sorted(cuts)]
    for sym, stage in enumerate(stages):
        first = checked
        for end in ends:
            stage.replay(of_sym(rows[first:end], sym))
            first = end
        stage.adopt(of_sym(rows[first:], sym))
        assert broken.digest(sym) == whole.digest(sym)


def test_the_market_is_left_alone_until_the_end() -> None:
    market = market_of_three()
    feed(market, random_walk(300, 4))
    before = market.digest()
    stage = Stage(market, market.checkpoint(1))
    stage.replay(trades((5000, 51, 1), sym=1))
    assert market.digest() == before
    stage.adopt(trades((5001, 52, 1), sym=1))
    assert market.digest() != before
    assert market.last_trade(1).price == 52 * 10**9


def test_triggers_stay_and_none_fires() -> None:
    market = Market(("X", "Y"))
    feed(market, trades((0, 10, 1), sym=1))
    checkpoint = market.checkpoint(1)
    slot = market.arm(1, TriggerOn.TRADE, ABOVE, 20)
    stage = Stage(market, checkpoint)
    stage.replay(trades((1, 25, 1), sym=1))
    stage.adopt(trades((2, 26, 1), sym=1))
    assert market.trigger(slot).level == 20
    market.consume(trades((3, 21, 1), sym=1), 0, 1)
    assert market.fired[: market.fired_count].tolist() == [slot]


def test_a_session_told_since_the_checkpoint_stays_told() -> None:
    market = Market(("X",))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    market.set_session(0, NOW + 100 * S, 0)
    stage = Stage(market, checkpoint)
    stage.replay(trades((40, 10, 4), (100, 10, 8)))
    stage.adopt(trades((101, 10, 16)))
    assert market.indicators(0).volume == 24


def test_a_checkpoint_too_many_bars_ago_is_refused() -> None:
    market = Market(("X",), (60,))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    feed(market, trades(*[(60 * n, 10 + n, 1) for n in range(1, SPARE + 2)]))
    with pytest.raises(ValueError, match=f"{SPARE + 1} bars have closed"):
        Stage(market, checkpoint)


def test_a_symbol_that_is_begun_anew_may_have_fewer_bars_than_it_had() -> None:
    market = Market(("X",), (60,))
    feed(market, trades(*[(60 * n, 10 + n, 1) for n in range(100)]))
    stage = Stage(market, market.checkpoint(0))
    stage.copy.forget(0)
    stage.replay(trades((6000, 10, 1), (6060, 11, 1)))
    stage.adopt(trades((6120, 12, 1)))
    assert [bar.close for bar in market.bars(0, 60, 500)] == [10, 11]
