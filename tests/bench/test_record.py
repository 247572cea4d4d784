"""What the record costs: that what is measured is recorded, and what it is held against is not, from a run too short to
mean anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import record
from bench.record import PACES, Size
from hands.core.rows import ROW


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "WARM", 2)
    monkeypatch.setattr(record, "BUFFERED", 5_000)
    monkeypatch.setattr(record, "QUICK", Size(documents=10, seconds=0.1, rounds=2))


@pytest.mark.usefixtures("short")
def test_each_part_is_measured_with_the_record_and_without_it(tmp_path: Path) -> None:
    found = record.measure(tmp_path, quick=True)
    assert found["document"]["n"] == 10
    assert 0 < found["document_kept_us"] < found["document"]["max_us"]
    for name, pace in PACES.items():
        frames = int(2 * 0.1 * pace.rows_per_s / pace.frame)
        assert found[name]["n"] == found[f"{name}_unrecorded"]["n"] == frames
        assert 2 < found[f"{name}_bytes_per_row"] < ROW.itemsize, "compressed, and every row of it"
        assert found[f"{name}_recorder_ns_per_row"] > 0
        recorded = [
            len(list(folder.glob("segments/*.seg"))) for folder in sorted((tmp_path / name).iterdir())
        ]
        assert recorded == [0, 1, 0, 1]
    assert min(found["snapshot_ms"], found["snapshot_kb"], found["trim_us"]) > 0


@pytest.mark.usefixtures("short")
def test_its_market_is_one() -> None:
    rows = record._rows()
    quotes = rows[rows["kind"] == record.RowKind.QUOTE]
    assert 0.6 < len(quotes) / len(rows) < 0.8
    assert (quotes["price2"] > quotes["price"]).all()
    assert np.array_equal(np.round(rows["price"], 2), rows["price"])
