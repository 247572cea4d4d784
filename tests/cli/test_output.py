"""What reaches a terminal: lines for people, never a control character an agent wrote."""

from __future__ import annotations

import json

import pytest

from hands.cli.output import harmless, print_json


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
