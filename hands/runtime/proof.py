"""Proof: a recorded state directory is verified, requests included.

Owns bringing the venue's encoder to the journal's verification; the two never meet elsewhere. May not compare anything
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder, SubmitEntry, SubmitExit
from hands.journal import verification
from hands.journal.requests import Encoder, Request
from hands.journal.verification import Progress, Verdict
from hands.venues.alpaca import encode


def _encoder(*, close_intent: bool) -> Encoder:
    def wire(command: Request) -> bytes:
        match command:
            case SubmitEntry(entry=order) | SubmitExit(order=order):
                return encode.submit_wire(order, close_intent=close_intent).text
            case CancelOrder():
                return encode.cancel_wire(command).text
            case ReplaceOrder():
                return encode.replace_wire(command).text
            case QueryOrder():
                return encode.query_wire(command).text

    return wire


ENCODERS: Final[Sequence[Encoder]] = (_encoder(close_intent=True), _encoder(close_intent=False))
"""One per way in which an order can be written: `[venue] close_intent` is not in the record."""


def verify(
    state: Path,
    *,
    first_keys: Sequence[bytes] = (),
    anchors: Path | None = None,
    only: int | str | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Verify what is recorded in `state`; as `hands.journal.verification.verify`, which see."""
    return verification.verify(
        state,
        ENCODERS,
        first_keys=first_keys,
        anchors=anchors,
        only=only,
        anyway=anyway,
        progress=progress,
    )
