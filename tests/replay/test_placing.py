"""Between which rows an order arrives: by the venue's stamps, whenever the rows were heard of and however they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.rows import ROW, new_rows
from hands.core.units import NS_PER_MS
from hands.replay.placing import LATE_NS, Sent, arrivals_ns
from tests.replay.markets import NOON

MS = NS_PER_MS


def market(*rows: tuple[int, float, float]) -> np.ndarray:
    """Return quotes: (symbol, ms of its stamp, ms of its receipt)."""
    made = new_rows(len(rows))
    for number, (sym, stamp, receipt) in enumerate(rows):
        made["sym"][number] = sym
        made["venue_ns"][number], made["recv_ns"][number] = NOON + int(stamp * MS), NOON + int(receipt * MS)
    return made


def order(decided: float, submitted: float, answered: float, usual: float) -> Sent:
    moments = (NOON + int(ms * MS) for ms in (decided, answered, submitted, usual))
    return Sent("AAPL", *moments)


@pytest.mark.parametrize(
    ("rows", "arrives_ms"),
    [
        ([], 103.5),
        ([(0, 102.9, 103.2), (0, 103.1, 103.8)], 103.5),  # the usual time is between them
        (
            [(0, 102.9, 104.5), (0, 103.1, 104.8)],
            104.500001,
        ),  # heard of late, but it was there before the order
        ([(0, 102.9, 103.1), (0, 103.1, 103.3)], 103.3),  # heard of early: it came after the order
        ([(0, 102.9, 107.0)], 107.000001),  # later than the answer
        ([(1, 102.9, 104.5), (1, 103.1, 103.3)], 103.5),  # another symbol
        ([(0, 90.0, 95.0), (0, 99.0, 100.0)], 103.5),  # seen when it was decided
        ([(0, 102.9, 170.0)], 103.5),  # too late to be of one moment with it
        ([(0, -2_000.0, 104.5)], 103.5),  # an old quote, asked for anew
        ([(0, 103.1, 104.0), (0, 102.9, 104.5)], 104.500001),  # the venue's own order is not that of receipt
    ],
)
def test_an_order_arrives_between_the_rows_that_the_venue_stamped_around_it(
    rows: list[tuple[int, float, float]], arrives_ms: float
) -> None:
    found = arrivals_ns([order(100, 103, 106, 103.5)], ("AAPL", "SPY"), [market(*rows)])
    assert found == [NOON + round(arrives_ms * MS)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    delays=st.lists(st.floats(0.1, 8), min_size=1, max_size=30),
    decided=st.floats(0, 60),
    cut=st.integers(1, 7),
)
def test_every_row_of_a_stream_in_order_stands_on_its_side(
    delays: list[float], decided: float, cut: int
) -> None:
    stamps = np.arange(len(delays)) * 2.0 + 0.5
    heard = np.maximum.accumulate(stamps + np.array(delays))
    rows = market(*((0, stamp, at) for stamp, at in zip(stamps, heard, strict=True)))
    sent = order(decided, decided + 3, decided + 4, decided + 3)
    chunks = [rows[at : at + cut] for at in range(0, len(rows), cut)]
    [at_ns] = arrivals_ns([sent], ("AAPL",), [*chunks, np.empty(0, ROW)])
    assert [at_ns] == arrivals_ns([sent], ("AAPL",), [rows])
    unknown = rows[(rows["recv_ns"] > sent.decided_ns) & (rows["recv_ns"] <= sent.answered_ns + LATE_NS)]
    came_before = unknown["venue_ns"] <= sent.submitted_ns
    assert (unknown["recv_ns"][came_before] < at_ns).all()
    same_frame = np.isin(unknown["recv_ns"], unknown["recv_ns"][came_before])
    assert (unknown["recv_ns"][~came_before & ~same_frame] >= at_ns).all()
