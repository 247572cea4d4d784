"""What reaches a terminal: lines for people, never a control character an agent wrote."""

from __future__ import annotations

import json

import pytest

from hands.cli.output import harmless, print_json
from hands.cli.status_view import stream_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, even \u00e9 and \u20ac", "plain text, even \u00e9 and \u20ac"),
        ("\x1b]0;PWNED\x07\x1b[31mred", "?]0;PWNED??[31mred"),
        ("two\nlines", "two\nlines"),
        ("back\rwards\x08 \x7f \x9b31m", "back?wards? ? ?31m"),
        ("half \ud800 a character", "half ? a character"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_json_is_ascii_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"message": "\x1b[31m \u20ac \ud800"}
    print_json(document)
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == document


STREAM = {
    "up": True, "since": "2026-09-21T13:26:40Z", "symbols": 2, "last_age_ms": 250.0, "rows": 90, "repeated": 3, "dropped": 0,
    "suspicious": 0, "offset_ms": -1300.0, "gaps": {"filled": 0, "trades": 0, "last": None, "filling": False},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "up since 2026-09-21 13:26:40 UTC, last message 0.2 s ago, venue clock +1300.0 ms"),
        ({"up": False, "since": None, "last_age_ms": None}, "down, nothing came yet, venue clock +1300.0 ms"),
        (
            {
                "dropped": 7,
                "suspicious": 2,
                "gaps": {"filled": 2, "trades": 17, "last": "13:27", "filling": True},
            },
            (
                "up since 2026-09-21 13:26:40 UTC, last message 0.2 s ago, venue clock +1300.0 ms, 2 gaps filled with 17 "
                "trades, last at 13:27, a gap is being filled, 7 messages dropped, 2 suspicious prints held aside"
            ),
        ),
    ],
)
def test_a_stream_is_told_in_one_line(changes, line):
    assert stream_line("equity_data", STREAM | changes) == f"  equity_data: {line}"
