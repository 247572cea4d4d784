"""The market that a session recorded, as prices: what stands in the segments of a state directory.

Owns which segments are read for which stretches of time. May not interpret anything but rows and the names they number. The
one idea: a report is about what is there. Only segments of the times that it is about are opened, and one that is broken is
read up to where it breaks. What a running daemon has not moved into a segment yet, some seconds, is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hands.core.views import SnapshotHead
from hands.journal.heads import HeadError, read_head
from hands.journal.segments import Segment, SegmentFault, folder_of, segment_paths
from hands.journal.steps import SESSION, SNAPSHOT
from hands.replay.prices import Span, TickPrices
from hands.replay.recorded_sessions import in_order


def segments_of(state: Path, spans: Sequence[Span]) -> list[Path]:
    """Return the segments that may have rows of these stretches, oldest first; none where nothing was recorded.

    A segment that was never closed is taken to last until the end of time. Raises OSError.
    """
    if not spans:
        return []
    first_ns, last_ns = min(span[1] for span in spans), max(span[2] for span in spans)
    found: list[Path] = []
    for path in segment_paths(folder_of(state)):
        try:
            segment = Segment(path)
            end = segment.end()
        except (SegmentFault, FileNotFoundError):  # torn before its head was whole, or pruned just now
            continue
        if segment.head.began_ns < last_ns and (end is None or end.ended_ns >= first_ns):
            found.append(path)
    return found


def recorded_prices(
    paths: Sequence[Path], spans: Sequence[Span], on_segment: Callable[[], None] = lambda: None
) -> TickPrices:
    """Return the prices of these stretches as the segments at `paths` have them. Raises OSError."""
    return TickPrices.of_markets(_rows(paths, on_segment), spans)


def _rows(
    paths: Sequence[Path], on_segment: Callable[[], None]
) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    session, symbols = -1, tuple[str, ...]()
    for path in paths:
        try:
            segment = Segment(path)
            found = _symbols(segment)
            if found or segment.head.session != session:
                session, symbols = segment.head.session, found
            for _, rows in segment.rows():
                yield symbols, in_order(rows, 0)
        except (SegmentFault, FileNotFoundError):
            pass  # what was whole has been taken
        on_segment()


def _symbols(segment: Segment) -> tuple[str, ...]:
    """Return what the rows of a segment number, by the head with which it begins; none where that cannot be read.

    One session has one list.
    """
    first = next(segment.steps(), None)
    if first is None or first.kind not in (SESSION, SNAPSHOT):
        return ()
    try:
        head = SnapshotHead.read(read_head(first.payload).market.partition(b"\n")[0])
    except HeadError:
        return ()
    return () if head is None else head.symbols
