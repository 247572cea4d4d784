"""The trading days of equities: the venue's own calendar, kept on disk, for when its clock cannot be asked.

Owns `calendar.json` in the state directory and what follows from it: the phase of the day, and a session report. May not
know a holiday by itself. The one idea: the calendar of the next weeks changes almost never, so what was read once is good
enough to know half days and holidays by, though the venue's clock, where it answers, has the last word.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from hands.core.events import SessionReport
from hands.core.units import NS_PER_S, Ns
from hands.venues.alpaca.snapshots import NEW_YORK, Session

log = logging.getLogger("hands")

FILE_NAME: Final = "calendar.json"
DAYS_BACK: Final = 7
DAYS_AHEAD: Final = 35
REFRESH_S: Final = 6 * 3600.0


class Sessions:
    """The sessions known; what is read from or written to `path` may fail without harm."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sessions: list[Session] = []
        try:
            self._sessions = msgspec.json.decode(path.read_bytes(), type=list[Session])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s cannot be read, and is asked for anew: %s", path, error)

    def wanted(self, now_ns: int) -> tuple[date, date]:
        """Return the first and the last day that should be known now."""
        today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).astimezone(NEW_YORK).date()
        return today - timedelta(days=DAYS_BACK), today + timedelta(days=DAYS_AHEAD)

    def learn(self, sessions: Sequence[Session]) -> None:
        """Replace what is known, here and on disk."""
        if not sessions:
            return
        self._sessions = sorted(sessions, key=lambda session: session.open_ns)
        fresh = self._path.with_name(f".{FILE_NAME}.tmp")
        try:
            fresh.write_bytes(msgspec.json.encode(self._sessions))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)

    def phase(self, now_ns: int) -> str:
        """Return "pre", "regular", "post" or "closed", "" where the calendar does not reach."""
        if not self._reaches(now_ns):
            return ""
        at = bisect.bisect_right(self._sessions, now_ns, key=lambda session: session.early_ns) - 1
        if at < 0 or now_ns >= self._sessions[at].late_ns:
            return "closed"
        session = self._sessions[at]
        if now_ns < session.open_ns:
            return "pre"
        return "regular" if now_ns < session.close_ns else "post"

    def report(self, now_ns: int) -> SessionReport | None:
        """Return the session as the calendar has it, None where it does not reach."""
        ahead = [session for session in self._sessions if session.close_ns > now_ns]
        if not self._reaches(now_ns) or not ahead:
            return None
        next_open = next((session.open_ns for session in ahead if session.open_ns > now_ns), None)
        if next_open is None:
            return None
        is_open = ahead[0].open_ns <= now_ns
        return SessionReport(
            ts_ns=Ns(now_ns),
            is_open=is_open,
            next_open_ns=next_open,
            next_close_ns=ahead[0].close_ns,
            open_ns=ahead[0].open_ns if is_open else None,
            phase=self.phase(now_ns),
        )

    def _reaches(self, now_ns: int) -> bool:
        known = self._sessions
        return bool(known) and known[0].early_ns <= now_ns < known[-1].late_ns
