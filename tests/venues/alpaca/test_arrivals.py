"""Trades that come twice, and trades that come out of order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import RowKind, new_rows
from hands.venues.alpaca.arrivals import Arrivals


def rows_of(*facts):
    """Rows from (sym, kind, trade id, price, time)."""
    rows = new_rows(max(1, len(facts)))
    for row, (sym, kind, trade_id, price, at_ns) in zip(rows, facts, strict=False):
        row["sym"], row["kind"], row["trade_id"], row["price"], row["venue_ns"] = (
            sym,
            kind,
            trade_id,
            price,
            at_ns,
        )
        row["size"] = 1.0
    return rows


T, Q = RowKind.TRADE, RowKind.QUOTE
trades = st.tuples(
    st.integers(0, 2), st.just(T), st.integers(1, 5), st.sampled_from([1.0, 1.5]), st.integers(1, 9)
)
quotes = st.tuples(st.integers(0, 2), st.just(Q), st.just(0), st.sampled_from([1.0, 1.5]), st.integers(1, 9))


@given(st.lists(st.lists(trades | quotes, max_size=6), max_size=8))
def test_each_trade_is_passed_on_once_and_every_quote_as_often_as_it_comes(frames):
    arrivals, seen, passed, expected, late = Arrivals(3), set(), [], [], set()
    newest = [0, 0, 0]
    for frame in frames:
        for fact in frame:
            if fact[1] is T:
                if fact in seen:
                    continue
                seen.add(fact)
                if fact[4] < newest[fact[0]]:
                    late.add(fact[0])
            newest[fact[0]] = max(newest[fact[0]], fact[4])
            expected.append(fact)
        rows = rows_of(*frame)
        left = arrivals.look(rows, len(frame))
        passed += [
            tuple(row[name].item() for name in ("sym", "kind", "trade_id", "price", "venue_ns"))
            for row in rows[:left]
        ]
    assert passed == expected
    assert arrivals.repeated == sum(map(len, frames)) - len(expected)
    assert arrivals.take_disordered() == sorted(late)
    assert arrivals.take_disordered() == []


def test_trap_29_what_is_stamped_in_the_future_is_left_out_and_makes_nothing_late():
    arrivals = Arrivals(1)
    rows = rows_of((0, T, 1, 1.0, 11), (0, Q, 0, 1.0, 12), (0, T, 2, 1.0, 5), (0, T, 3, 1.0, 10))
    assert arrivals.look(rows, 4, 10) == 2
    assert rows["trade_id"][:2].tolist() == [2, 3]
    assert (arrivals.from_future, arrivals.repeated, arrivals.take_disordered()) == (2, 0, [])
    late = rows_of((0, T, 1, 1.0, 11))
    assert arrivals.look(late, 1, 11) == 1, "it was not taken for one that had come"


def test_trades_without_an_id_are_not_taken_for_repetitions():
    """Two that look the same may be two."""
    arrivals = Arrivals(1)
    assert arrivals.look(rows_of((0, T, 0, 1.0, 5), (0, T, 0, 1.0, 5)), 2) == 2


def test_a_repetition_after_thousands_of_trades_is_found():
    arrivals = Arrivals(1)
    frame = rows_of(*((0, T, n, 1.0, n) for n in range(1, 2001)))
    assert arrivals.look(frame.copy(), 2000) == 2000
    assert arrivals.look(frame.copy(), 2000) == 0
    more = rows_of(*((0, T, n, 1.0, n) for n in range(2001, 10001)))
    arrivals.look(more, 8000)
    assert arrivals.look(frame.copy(), 2000) <= 1


def test_rows_that_only_look_alike_are_kept():
    base = (0, T, 7, 1.0, 5)
    others = [(1, *base[1:]), (0, T, 8, 1.0, 5), (0, T, 7, 1.5, 5), (0, T, 7, 1.0, 6)]
    arrivals = Arrivals(2)
    assert arrivals.look(rows_of(base, *others), 5) == 5
    other_size = rows_of(base)
    other_size["size"] = 2.0
    assert arrivals.look(other_size, 1) == 1
    assert arrivals.look(rows_of(base), 1) == 0


def test_what_is_known_from_elsewhere_comes_twice_when_it_comes():
    arrivals = Arrivals(1)
    known = rows_of((0, T, 1, 1.0, 5), (0, T, 2, 1.0, 6))
    arrivals.know(known)
    assert arrivals.repeated == 0
    assert arrivals.look(rows_of((0, T, 3, 1.0, 7), (0, T, 2, 1.0, 6), (0, T, 1, 1.0, 5)), 3) == 1
    assert arrivals.take_disordered() == []
