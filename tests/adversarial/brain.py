"""A Brain's hand: everything a process can do that may write into one drop folder.

Owns the writing, and the reading of the answers as an agent would read them. May not know anything else of the engine.
The one idea: an attack is judged by its answers, so each thing that is dropped is remembered until it has one.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

WITHIN_S = 15.0
POLL_S = 0.002


@dataclass(frozen=True)
class Dropped:
    """Something in the drop folder: its name, the id its document claims, and whether it must be left alone."""

    name: str
    intent_id: str | None = None
    ignored: bool = False


def stamp(seconds_from_now: float = 0.0) -> str:
    """Return a time as documents write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds_from_now)).isoformat()


class Brain:
    """Drops into `folder` of the drop folder `intents`; `symbol` is one it may trade, at 149.98/150.00.

    `scratch` is a folder of its own on the same file system; `other` is an agent's folder that is not its own.
    """

    def __init__(self, intents: Path, folder: Path, scratch: Path, name: str, symbol: str) -> None:
        self.intents = intents
        self.folder = folder
        self.scratch = scratch
        self.name = name
        self.symbol = symbol
        self.dropped: list[Dropped] = []

    # --- documents -----------------------------------------------------------------------------------------

    def intent(self, **changes: Any) -> dict[str, Any]:
        """Return a good intent, changed as asked; a change to None leaves a key out, a callable is called now."""
        document = {
            "intent_id": str(uuid.uuid4()),
            "asset": self.symbol,
            "direction": "LONG",
            "trigger_price": 150,
            "stop_loss": 148,
            "take_profit": 155,
            "confidence": 0.8,
            "strategy_ref": self.name,
            "timestamp": stamp(),
            "ttl_seconds": 10,
        } | {name: value() if callable(value) else value for name, value in changes.items()}
        return {name: value for name, value in document.items() if value is not None}

    def good(self, **changes: Any) -> bytes:
        return json.dumps(self.intent(**changes)).encode()

    # --- dropping ------------------------------------------------------------------------------------------

    def file_name(self) -> str:
        return f"{self.name[:40]}-{len(self.dropped)}-{uuid.uuid4().hex[:6]}.json"

    def drop(self, data: bytes, name: str | None = None, *, claims: str | None = None) -> Dropped:
        """Put bytes into the folder under `name` by a rename; `claims` is the id to look for, else what they say."""
        name = name or self.file_name()
        unfinished = self.folder / f".{uuid.uuid4().hex}.tmp"
        unfinished.write_bytes(data)
        unfinished.rename(self.folder / name)
        return self.note(name, claims or _id_in(data))

    def note(self, name: str, intent_id: str | None = None, *, ignored: bool = False) -> Dropped:
        """Remember something that was put there otherwise."""
        self.dropped.append(Dropped(name, intent_id, ignored))
        return self.dropped[-1]

    def write_slowly(self, data: bytes, name: str) -> None:
        """Write a file under its final name in two parts, closing it between them."""
        with (self.folder / name).open("wb") as file:
            file.write(data)

    @contextmanager
    def listening(self, name: str) -> Any:
        """Put a Unix socket into the folder, which listens while the block runs."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            short = Path(f"/proc/self/fd/{os.open(self.folder, os.O_RDONLY)}")
            try:
                server.bind(str(short / name))
                server.listen()
                yield
            finally:
                os.close(int(short.name))

    # --- answers -------------------------------------------------------------------------------------------

    def answers(self, within_s: float = WITHIN_S) -> list[dict[str, Any]]:
        """Wait until everything that was dropped has its answer, and return the answers in the order of dropping."""
        deadline = time.monotonic() + within_s
        return [self._answer(item, deadline) for item in self.dropped if not item.ignored]

    def _answer(self, item: Dropped, deadline: float) -> dict[str, Any]:
        while True:
            if not os.path.lexists(self.folder / item.name):
                for place in (self._refused(item), self.receipt_of(item)):
                    found = None if place is None else read_json(place)
                    if found is not None:
                        return found
            assert time.monotonic() < deadline, f"{self.name}: no answer to {item}"
            time.sleep(POLL_S)

    def _refused(self, item: Dropped) -> Path:
        return self.intents / "refused" / f"{item.name}.receipt.json"

    def receipt_of(self, item: Dropped) -> Path | None:
        return None if item.intent_id is None else self.intents / "receipts" / f"{item.intent_id}.json"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a document, None where there is none (a name can be too long to have one)."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        raise
    return found


def _id_in(data: bytes) -> str | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    claimed = found.get("intent_id") if isinstance(found, dict) else None
    return claimed if isinstance(claimed, str) and "/" not in claimed and claimed.isprintable() else None


Act = Callable[[Brain], None]
