"""The same scenarios, chosen by hypothesis: where the guardians disagree, it finds the smallest scenario in which they do.

And the numbers that a denial suggests, which the oracle must find admissible too.
"""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.members import parse_time_ns
from tests.core.world import intent_id
from tests.oracle import guardian, pushes, seat
from tests.oracle.agreement import differences
from tests.oracle.scenario import Document, Scenario

D = Decimal
SOAK = bool(os.environ.get("HANDS_SOAK"))


@settings(max_examples=10_000 if SOAK else 250)
@given(st.randoms(use_true_random=False))
def test_hypothesis_finds_no_disagreement(rng: Random) -> None:
    wanted, wrong = differences(pushes.scenario(rng, seat.shipped_values()))
    assert wanted.code
    assert not wrong, "\n".join(wrong)


def suggested(s: Scenario) -> dict[str, Any] | None:
    """Return what the engine says would have passed, None where it says nothing."""
    state = seat.state_of(s)
    state.suggested = (0, 0)
    seat.play(s, state)
    ticket = state.ticket(intent_id(s.document.number))
    return None if ticket is None else ticket.nearest


def changed(s: Scenario, members: dict[str, Any]) -> Document:
    """Return the document with the suggested members in it, as an agent would write them."""
    names = {
        "trigger_price": "trigger", "stop_loss": "stop", "take_profit": "target", "ttl_seconds": "ttl_s",
        "arm_seconds": "arm_s", "qty": "qty", "trailing_stop_pct": "trailing",
    }  # fmt: skip
    values: dict[str, Any] = {}
    for name, value in members.items():
        if name == "timestamp":
            values["age_ns"] = s.now_ns + s.wall_offset_ns - parse_time_ns(value)
        else:
            values[names[name]] = None if value is None else D(str(value))
    return replace(s.document, **values)


def test_what_a_denial_suggests_is_admissible_to_the_oracle_too() -> None:
    looked, hard = 0, seat.shipped_values()
    for seed in range(40_000 if SOAK else 1_200):
        s = pushes.scenario(Random(seed), hard)
        members = suggested(s)
        if members is None:
            continue
        looked += 1
        cured = replace(guardian.asked_again(s), fires_at=None)
        cured.document = changed(s, members)
        if (
            s.document.touch
            and s.fires_at is not None
            and guardian.judge(replace(s, fires_at=None)).state == "ARMED"
        ):
            cured = guardian.fired(cured, s.fires_at)  # denied when it fired
        assert guardian.judge(cured).verdict == "ACCEPTED", (
            seed,
            members,
            guardian.judge(s),
            guardian.judge(cured),
        )
    assert looked > 60, looked
