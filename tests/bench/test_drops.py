"""Dropping: the pace is the clock's, time zero is before the rename, and each document is a good intent."""

from __future__ import annotations

import itertools

from bench.drops import document, drop_at_pace
from bench.venue import SYMBOLS
from hands.core.intents import Intent, read_document


def test_a_document_is_an_intent_that_the_engine_reads():
    intent_id, data = document(3)
    found = read_document(data)
    assert isinstance(found, Intent)
    assert (found.intent_id, found.asset) == (intent_id, SYMBOLS[3])


def test_the_intended_moments_are_the_pace_whatever_happened(tmp_path):
    folder = tmp_path / "intents"
    folder.mkdir()
    told = []
    drops = drop_at_pace(folder, 4, 2_000_000, lambda: told.append(1))
    intended = [drop.intended_ns for drop in drops]
    assert [b - a for a, b in itertools.pairwise(intended)] == [2_000_000] * 3
    assert all(drop.zero_ns >= drop.intended_ns for drop in drops)
    assert {path.name for path in folder.iterdir()} == {f"{drop.intent_id}.json" for drop in drops}
    assert len(told) == 4
