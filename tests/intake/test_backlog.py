"""Whose turn it is when more waits than can be judged at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.members import parse_time_ns
from hands.core.units import NS_PER_S, Ns
from hands.intake.backlog import Backlog, Waiting, deadline_hint
from hands.intake.claims import Claim, Claims
from hands.intake.drops import Drop
from hands.intake.reading import Identity, Reading
from tests.core.world import NOW, document, encoded

LATE = "2026-01-05T14:59:00Z"


def drop(agent: str = "default", *, known: bool = True) -> Drop:
    return Drop(agent, Path(agent), -1, 1, (1, 1), None, None, known)


DROP = drop()


def waiting(name: str, data: bytes = b"", place: Drop = DROP) -> Waiting:
    reading = Reading(Identity(1, hash(name), 1, len(data)), data)
    return Waiting(Claim(place, name, reading), name, Ns(1))


def intent_with(ttl: str, timestamp: str = "2026-01-05T15:00:00Z") -> bytes:
    return encoded(document(ttl_seconds=ttl, timestamp=timestamp))


def order(backlog: Backlog) -> list[str]:
    names = []
    while backlog:
        names.append(backlog.next(NOW).shown_name)
    return names


def test_of_one_agent_the_next_deadline_comes_first_and_every_fourth_time_the_longest_wait() -> None:
    backlog = Backlog()
    for ttl in range(12, 0, -1):
        backlog.add(waiting(f"ttl {ttl}", intent_with(str(ttl))))
    assert order(backlog) == [f"ttl {ttl}" for ttl in (1, 2, 3, 12, 4, 5, 6, 11, 7, 8, 9, 10)]


def test_what_is_past_its_deadline_comes_last_and_still_has_its_every_fourth_turn() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.add(waiting(f"late {number}", intent_with("5", LATE)))
    for number in range(5):
        backlog.add(waiting(f"live {number}", intent_with("15")))
    assert order(backlog) == ["live 0", "live 1", "live 2", "late 0", "live 3", "live 4", "late 1", "late 2"]


def test_what_shows_no_deadline_keeps_its_order() -> None:
    backlog = Backlog()
    for number in range(9):
        backlog.add(waiting(str(number), b"not json"))
    assert order(backlog) == [str(number) for number in range(9)]


@pytest.mark.parametrize("target_ttl", ["1", "14"])
def test_a_document_that_changes_an_intent_never_overtakes_it(target_ttl: str) -> None:
    """Cancelled before it was there, it would be entered after its agent had taken it back."""
    cancel = encoded(
        {
            "kind": "cancel",
            "timestamp": "2026-01-05T15:00:00Z",
            "thesis": '"ttl_seconds": 1',
            "intent_id": "x",
        }
    )
    for before in range(8):
        backlog = Backlog()
        for number in range(before):
            backlog.add(waiting(f"older {number}", intent_with("5")))
        backlog.add(waiting("target", intent_with(target_ttl)))
        backlog.add(waiting("cancel", cancel))
        for number in range(8):
            backlog.add(waiting(f"newer {number}", intent_with("3")))
        found = order(backlog)
        assert found.index("target") < found.index("cancel")


def test_agents_take_turns_however_much_one_of_them_drops_and_strangers_share_one() -> None:
    backlog = Backlog()
    places = [drop("noisy"), drop("quiet"), *(drop(f"stranger-{n}", known=False) for n in range(50))]
    for place in places:
        for number in range(100 if place.agent == "noisy" else 1):
            backlog.add(waiting(f"{place.agent} {number}", intent_with("1"), place))
    first = order(backlog)[:6]
    assert first.index("quiet 0") <= 2
    assert len([name for name in first if name.startswith("stranger")]) == 2


def test_an_emptied_backlog_is_empty_and_can_be_filled_again() -> None:
    backlog = Backlog()
    with pytest.raises(IndexError):
        backlog.next(NOW)
    backlog.add(waiting("a"))
    backlog.clear()
    assert not backlog
    backlog.add(waiting("b"))
    assert order(backlog) == ["b"]


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_each_comes_out_once_and_nobody_is_overtaken_for_ever(seed: int, count: int) -> None:
    random, backlog = Random(seed), Backlog()
    places = [drop(f"agent-{n}") for n in range(3)]
    added, out = [], []
    for number in range(count):
        place = random.choice(places)
        name = f"{place.agent} {number}"
        data = random.choice((b"", intent_with("5", LATE), intent_with(str(random.randrange(1, 99)))))
        backlog.add(waiting(name, data, place))
        added.append(name)
        if random.random() < 0.5:
            out.append(backlog.next(NOW).shown_name)
    out += order(backlog)
    assert sorted(out) == sorted(added)
    for place in places:  # the oldest of an agent waits for at most three others of its own
        own = [int(name.split()[1]) for name in out if name.startswith(f"{place.agent} ")]
        left = sorted(own)
        passed = 0
        for number in own:
            passed = 0 if number == left[0] else passed + 1
            left.remove(number)
            assert passed <= 3
    assert all(a != b for a, b in pairwise(sorted(out)))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (intent_with("15"), NOW + 15 * NS_PER_S),
        (intent_with("0.5", "2026-01-05T10:00:00-05:00"), NOW + NS_PER_S // 2),
        (b'{"ttl_seconds" : 2,\n "timestamp"\t: "2026-01-05T15:00:00.25Z"}', parse_time_ns("2026-01-05T15:00:02.25Z")),
        (b"", None),
        (b"\xff\xff", None),
        (intent_with("1e9"), NOW + NS_PER_S),  # a hint: whoever misleads it competes with his own documents only
        (b'{"timestamp": "2026-99-99T15:00:00Z", "ttl_seconds": 15}', None),
        (b'{"timestamp": "2026-01-05T15:00:00Z"}', None),
        (b'{"timestamp": 1767625200, "ttl_seconds": 15}', None),
        (b'{"ttl_seconds": "15", "timestamp": "2026-01-05T15:00:00Z"}', None),
    ],
)  # fmt: skip
def test_the_hint_is_what_a_well_meant_document_says(data: bytes, hint: int | None) -> None:
    assert deadline_hint(data) == hint


@given(st.binary(max_size=200))
def test_any_bytes_have_a_hint_or_none(data: bytes) -> None:
    assert isinstance(deadline_hint(b'"timestamp": "' + data + b'", "ttl_seconds": ' + data), int | None)


def test_claims_are_told_apart_by_file_and_bytes_and_counted_for_each_agent() -> None:
    claims = Claims()
    first, second = waiting("a.json", b"1").claim, waiting("a.json", b"2").claim
    assert [claims.add("default", "a.json", claim) for claim in (first, second, first)] == [True, True, False]
    assert claims.find("default", "a.json", b"2") is second
    assert claims.find("alpha", "a.json", b"2") is None
    assert claims.others("default", "a.json", first) == [b"2"]
    assert claims.holds("default", "a.json", first.reading.identity)
    claims.release("default", "a.json", first)
    assert claims.find("default", "a.json", b"1") is None
    claims.release("default", "a.json", second)
    assert not claims.holds("default", "a.json", second.reading.identity)
    assert not claims.is_full("default")
    assert claims.has_room("default")
