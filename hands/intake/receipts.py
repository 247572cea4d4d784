"""Receipts: what an agent is told, one file per intent, replaced at every change.

Owns `receipts/`. May not decide what a receipt says or when it is due; a caller with several changes in one turn
writes only the last. The one idea: a temporary file and a rename, so that a reader sees the old receipt or the new one
and never a half. Nothing is synced to disk: a sync costs 0.2 to 3 ms on the engine's thread, and a receipt is a function
of the engine's state, which the journal has; after a power cut every open one is written again.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from hands.intake.files import write_new
from hands.intake.places import open_below
from hands.intake.reading import IntakeError

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z", re.ASCII)


class ReceiptWriter:
    """Writes receipts below the drop folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def write(self, intent_id: str, doc: Mapping[str, Any]) -> None:
        """Replace the receipt of `intent_id`.

        Raises:
            IntakeError: it was not written, the former one stands; try again.
            ValueError: `intent_id` cannot be a file name, or `doc` is not JSON.
        """
        if not _SAFE_ID.match(intent_id):
            raise ValueError(f"{intent_id!r} cannot be a file name")
        data = orjson.dumps(doc, option=orjson.OPT_APPEND_NEWLINE)
        part = f".{intent_id}.{secrets.token_hex(4)}.tmp"
        try:
            with open_below(self._folder, "receipts", make=True) as fd:
                try:
                    write_new(fd, part, data)
                    os.rename(part, f"{intent_id}.json", src_dir_fd=fd, dst_dir_fd=fd)
                except OSError:
                    _discard(fd, part)
                    raise
        except OSError as error:
            raise IntakeError(f"receipt of {intent_id} not written: {error.strerror or error}") from error


def _discard(folder_fd: int, part: str) -> None:
    try:
        os.unlink(part, dir_fd=folder_fd)
    except OSError:
        return  # never made, or the same trouble again, which the caller reports
