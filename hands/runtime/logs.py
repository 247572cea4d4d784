"""Logs: to stderr, as JSON lines or as text, and never with a secret in them.

Owns the format. The account's keys are struck out of every record, whatever wrote it, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

STRUCK_OUT = "[secret]"


def struck_out(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` without the secrets; the simulator's three letters are none."""
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, STRUCK_OUT)
    return text


class _Lines(logging.Formatter):
    """One line per record; `secrets` never appear in it."""

    def __init__(self, *, as_json: bool, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self._as_json = as_json
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        message = self._struck(record.getMessage())
        trace = None
        if record.exc_info and record.exc_info[0]:
            trace = self._struck(self.formatException(record.exc_info))
        if self._as_json:
            row = {
                "at": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z",
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": message,
            }
            code = getattr(record, "code", None)
            if code is not None:
                row["code"] = code
            if trace is not None:
                row["trace"] = trace
            line = json.dumps(row)
        else:
            line = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} {record.levelname.lower():8} {message}"
            line = line if trace is None else f"{line}\n{trace}"
        return line

    def _struck(self, text: str) -> str:
        return struck_out(text, self._secrets)


def set_up_logging(*, as_json: bool, secrets: tuple[str, ...] = (), level: int = logging.INFO) -> None:
    """Send every record to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=as_json, secrets=secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
