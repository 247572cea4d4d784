from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.rows import ROW, new_rows
from hands.replay.merging import CHUNK_ROWS
from hands.replay.tape import Tape, TapeError, merged


def rows_at(times: list[int], sym: int = 0, first_id: int = 0) -> np.ndarray:
    rows = new_rows(len(times))
    rows["sym"], rows["recv_ns"] = sym, times
    rows["trade_id"] = np.arange(first_id, first_id + len(times))
    return rows


def cut(rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Cut rows into chunks of these sizes, the rest as one."""
    parts, at = [], 0
    for size in sizes:
        parts.append(rows[at : at + size])
        at += size
    return [*parts, rows[at:]]


def tape_of(symbol: str, rows: np.ndarray, sizes: list[int]) -> Tape:
    """A tape that comes in chunks of these sizes, empty ones among them."""
    return Tape([symbol], lambda: iter([part.copy() for part in cut(rows, sizes)]))


def ids(tape: Tape) -> list[tuple[str, int, int]]:
    return [
        (tape.symbols[row["sym"]], int(row["recv_ns"]), int(row["trade_id"]))
        for chunk in tape.chunks()
        for row in chunk
    ]


def test_a_tape_of_arrays_is_read_as_often_as_one_likes_and_cannot_be_harmed() -> None:
    rows = rows_at(list(range(CHUNK_ROWS + 5)))
    tape = Tape.of(["AAPL"], rows[:3], rows[3:])
    assert tape.rows == CHUNK_ROWS + 5
    for chunk in tape.chunks():
        assert chunk.dtype == ROW
        assert chunk.flags.c_contiguous
        assert chunk.flags.writeable
        chunk["recv_ns"] = -1
    assert (tape.all_rows() == rows).all()


@pytest.mark.parametrize(
    "arrays",
    [[rows_at([1, 3, 2])], [rows_at([5]), rows_at([4])], [rows_at([1], sym=1)], [rows_at([1], sym=-1)], [np.zeros(3)]],
    ids=["order", "between arrays", "symbol", "no symbol", "dtype"],
)  # fmt: skip
def test_what_is_no_tape_is_refused(arrays: list[np.ndarray]) -> None:
    with pytest.raises(TapeError):
        Tape.of(["AAPL"], *arrays)


def test_a_source_that_breaks_its_promise_is_told_of() -> None:
    tape = Tape(["A"], lambda: iter([rows_at([1, 2]), rows_at([1])]))
    with pytest.raises(TapeError, match="earlier"):
        tape.all_rows()


def test_a_symbol_twice_is_refused() -> None:
    with pytest.raises(TapeError, match="twice"):
        Tape(["A", "A"], lambda: iter(()))


times = st.lists(st.integers(0, 12), max_size=30).map(sorted)
sizes = st.lists(st.integers(0, 4), max_size=12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(times, sizes, sizes), min_size=1, max_size=4))
def test_merging_is_a_stable_sort_however_the_tapes_are_cut(
    given_tapes: list[tuple[list[int], list[int], list[int]]],
) -> None:
    names = ["C", "A", "D", "B"]
    expected = sorted(
        (t_ns, place, number)
        for place, (at, _, _) in enumerate(given_tapes)
        for number, t_ns in enumerate(at)
    )
    for way in (1, 2):
        tapes = [tape_of(names[n], rows_at(one[0]), one[way]) for n, one in enumerate(given_tapes)]
        tape = merged(tapes)
        assert tape.symbols == tuple(sorted(names[: len(given_tapes)]))
        assert ids(tape) == [(names[place], t_ns, number) for t_ns, place, number in expected]
        assert ids(tape) == ids(tape)


def test_merging_long_tapes_holds_few_chunks() -> None:
    """A tape that is read ahead of the others would have to be kept."""
    handed_out = [0, 0]

    def reads(place: int):
        def read():
            for first in range(0, 100_000, 1_000):
                handed_out[place] += 1
                assert abs(handed_out[0] - handed_out[1]) <= 2
                yield rows_at(list(range(first, first + 1_000)))

        return read

    assert len(merged([Tape(["A"], reads(0)), Tape(["B"], reads(1))]).all_rows()) == 200_000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(times, sizes), min_size=2, max_size=5))
def test_merging_more_than_are_kept_open_is_the_same(tapes: list[tuple[list[int], list[int]]]) -> None:
    made = [tape_of(f"S{n}", rows_at(at), cuts) for n, (at, cuts) in enumerate(tapes)]
    expected = ids(merged(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hands.replay.merging.OPEN_MAX", 1)
        assert ids(merged(made)) == expected


def test_a_file_a_day_is_read_day_by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a day whose time has not come nothing is kept but when it begins."""
    chunks_held = 0
    most_held = 0

    class Rows:
        """Counts how many days are being read."""

        def __init__(self, day: int) -> None:
            self.day = day

        def __call__(self):
            nonlocal chunks_held, most_held
            chunks_held += 1
            most_held = max(most_held, chunks_held)
            try:
                for first in range(3):
                    yield rows_at([self.day * 100 + first])
            finally:
                chunks_held -= 1

    assert len(merged([Tape([f"D{n}"], Rows(n)) for n in range(40)]).all_rows()) == 120
    assert most_held <= 3


def test_merging_the_same_symbol_from_two_tapes() -> None:
    tape = merged([Tape.of(["B", "A"], rows_at([1, 3], sym=1)), Tape.of(["B"], rows_at([2]))])
    assert tape.symbols == ("A", "B")
    assert tape.rows == 3
    assert ids(tape) == [("A", 1, 0), ("B", 2, 0), ("A", 3, 1)]


@given(times, sizes, st.none() | st.integers(-1, 13), st.none() | st.integers(-1, 13))
@settings(max_examples=60, deadline=None)
def test_between_takes_the_start_and_leaves_the_end(
    at: list[int], cuts: list[int], start: int | None, end: int | None
) -> None:
    found = tape_of("A", rows_at(at), cuts).between(start, end)
    kept = [t for t in at if (start is None or t >= start) and (end is None or t < end)]
    assert [int(t) for t in found.all_rows()["recv_ns"]] == kept


def test_between_reads_no_further_than_it_must() -> None:
    def endless():
        at = 0
        while True:
            yield rows_at([at, at + 1])
            at += 2

    assert len(Tape(["A"], endless).between(3, 9).all_rows()) == 6


def test_only_renumbers_and_leaves_the_rest_out() -> None:
    rows = np.concatenate([rows_at([1], 0), rows_at([2], 1), rows_at([3], 2), rows_at([4], 1)])
    tape = Tape.of(["A", "B", "C"], rows)
    assert ids(tape.only(["B", "A"])) == [("A", 1, 0), ("B", 2, 0), ("B", 4, 0)]
    assert tape.only(["B"]).symbols == ("B",)
    with pytest.raises(TapeError, match="X: not in this market, which has A, B, C"):
        tape.only(["X"])
