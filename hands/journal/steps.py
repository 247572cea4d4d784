"""Steps: what a session is made of, in one order.

Owns the record of one step and what of it is sealed. May not interpret a payload. The one idea: everything that the
engine took in, and what it answered, stands in one sequence; the market's rows, which are too many, stand beside it and
every step says after how many of them it was taken.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

SESSION: Final = "began"
"""The first step of a process life: the state it began with (`hands.journal.heads`). ("session" is the venue's, an event.)"""
SNAPSHOT: Final = "snapshot"
"""The state in the middle of a session, from which it can be run again without what came before."""
MENDED: Final = "mended"
"""A symbol's market was changed otherwise than by rows; the payload is what it was changed to."""
ENDED: Final = "ended"
"""The session's orderly end, with the digest of the state."""

TOLD: Final = "told"
"""A row for the ledger that no decision has made; the payload is the table and the row (`told_row`)."""

RECEIPT: Final = "receipt"
"""A receipt was written; the payload is the id it is of, and its row for the ledger follows from the state."""

OWN_KINDS: Final = frozenset({SESSION, SNAPSHOT, MENDED, ENDED, TOLD, RECEIPT})
"""What the record says by itself; every other kind is the tag of an event that was decided."""

_NUMBERS = struct.Struct("<qqqqHII")


class Step(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One step as it is recorded.

    `row`: how many rows the session's market had consumed by then. `commands`: the JSON of what `decide` returned, empty
    where it was not called. `seal` continues the chain, under the key of `epoch`; it is empty in records of versions that
    did not seal.
    """

    seq: int
    ts_ns: int
    kind: str
    payload: bytes
    row: int = 0
    commands: bytes = b""
    epoch: int = 0
    seal: bytes = b""


def sealed_body(
    seq: int, ts_ns: int, kind: str, payload: bytes, row: int, commands: bytes, epoch: int
) -> bytes:
    """Return the bytes of a step that its seal stands for: all of it, each part's length included."""
    word = kind.encode()
    head = _NUMBERS.pack(seq, ts_ns, row, epoch, len(word), len(payload), len(commands))
    return b"".join((head, word, payload, commands))


def told_payload(table: str, row: bytes) -> bytes:
    """Return the payload of a `told` step."""
    return table.encode() + b"\n" + row


def told_row(payload: bytes) -> tuple[str, bytes]:
    """Return the table and the row that a `told` step has brought."""
    table, _, row = payload.partition(b"\n")
    return table.decode("utf-8", "replace"), row
