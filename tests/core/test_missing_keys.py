"""Keys that a limits file lacks are added with the shipped values, and not one other byte of it changes."""

from __future__ import annotations

import re
from difflib import ndiff

import pytest

from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS
from hands.core.limits import read_limits
from hands.core.missing_keys import SHIPPED as SHIPPED_LINES
from hands.core.missing_keys import CannotAdd, with_missing
from tests.core.world import SHIPPED, limits_text

KEYS = [key.name for key in (*LIMIT_KEYS, *SESSION_KEYS)] + ["allow_short", "roll"]


def added_lines(before: str, after: str) -> list[str]:
    """Return the lines that were added; fail where any other changed."""
    changes = [line for line in ndiff(before.splitlines(True), after.splitlines(True)) if line[0] != " "]
    assert [line for line in changes if line[0] not in "+?"] == []
    return [line[2:] for line in changes if line[0] == "+"]


def test_a_complete_file_is_left_alone() -> None:
    assert with_missing(SHIPPED) == (SHIPPED, [])


@pytest.mark.parametrize("name", KEYS)
def test_a_missing_key_is_added_with_its_shipped_value_and_its_meaning(name: str) -> None:
    before = limits_text(without=(name,))
    after, added = with_missing(before)
    [(_, line)] = added
    assert added_lines(before, after) == [line.text + "\n"]
    assert line.meaning in line.text
    assert read_limits(after).hard == read_limits(SHIPPED).hard
    assert with_missing(after) == (after, [])


def test_the_words_beside_a_key_are_those_of_the_shipped_file() -> None:
    for lines in SHIPPED_LINES.values():
        for line in lines:
            shipped = re.search(rf"(?m)^{line.name} = .*?# (.*)$", SHIPPED)
            assert shipped is not None
            assert line.name in ("allow", "roll") or shipped.group(1).startswith(line.meaning), line.name


def test_a_file_of_only_its_first_line_becomes_whole() -> None:
    after, added = with_missing("# mine\n")
    assert after.startswith("# mine\n")
    assert len(added) == sum(len(lines) for lines in SHIPPED_LINES.values())
    file = read_limits(after)
    assert file.hard == read_limits(SHIPPED).hard
    assert file.allow == (), "a symbol is allowed by its owner and by nobody else"


def test_the_file_keeps_its_line_ends_its_order_and_a_missing_last_one() -> None:
    before = limits_text(without=("max_spread", "roll")).rstrip("\n").replace("\n", "\r\n")
    after, added = with_missing(before)
    assert len(added) == 2
    assert "\n" not in after.replace("\r\n", "")
    assert after.replace("\r\n", "\n").count("max_spread = 0.005 ") == 1
    read_limits(after)


def test_a_table_whose_last_value_spans_lines_is_added_to_all_the_same() -> None:
    spread = 'allow = [\n  "AAPL",\n]\n'
    before = re.sub(r"(?m)^allow = .*\n", "", limits_text(without=("allow_short",)))
    before = before.replace("[symbols]\n", f"[symbols]\n{spread}")
    after, added = with_missing(before)
    assert [line.name for _, line in added] == ["allow_short"]
    assert read_limits(after).allow == ("AAPL",)
    before = before.replace(spread, 'allow = [ # these\n[\n"AAPL"]]\n')  # what looks like a table is none
    after, _ = with_missing(before)
    assert "[symbols]\nallow_short = false" in after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hard_limits", "not readable"),
        ("hard_limits = 3\n", "no table"),
        ("hard_limits = {max_spread = 0.005}\n", "paste: max_risk_per_trade = 0.02"),
        ("hard_limits.max_spread = 0.005\n", "paste: max_risk_per_trade = 0.02"),
    ],
)
def test_what_cannot_be_added_to_safely_is_left_to_its_owner(text: str, words: str) -> None:
    with pytest.raises(CannotAdd, match=re.escape(words)):
        with_missing(text)
