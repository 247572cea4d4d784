"""No key ever reaches a log, whatever wrote it."""

from __future__ import annotations

import json
import logging

import pytest

from hands.runtime.logs import STRUCK_OUT, set_up_logging

KEY, SECRET = "PKABCDEFGH", 'we"ird\\secret'


@pytest.fixture
def handlers():
    """The root logger, put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = before


@pytest.mark.parametrize("as_json", [True, False])
def test_neither_the_key_nor_the_secret_is_in_a_message_or_a_traceback(
    handlers: logging.Logger, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    set_up_logging(as_json=as_json, secrets=(SECRET, KEY))
    logger = logging.getLogger("hands.test")
    try:
        int(f"auth with {KEY} and {SECRET}")
    except ValueError:
        logger.exception("failed for %s with %s", KEY, SECRET)
    text = capsys.readouterr().err
    assert STRUCK_OUT in text
    for told in (KEY, SECRET, json.dumps(SECRET)[1:-1]):
        assert told not in text
    if as_json:
        assert json.loads(text)["message"] == f"failed for {STRUCK_OUT} with {STRUCK_OUT}"
