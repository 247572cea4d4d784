"""The record of one judged document that changes an intent: what was asked, and what was answered.

Owns what its receipt and its row in the ledger are made of. May not act: what it did stands in its target's ticket, and
was written ahead together with this. The one idea: it is over with its verdict, so it is kept only until that is told.
"""

from __future__ import annotations

import msgspec

from hands.core.intents import Change
from hands.core.ticket import Stamps
from hands.core.units import Ns
from hands.core.vocab import Code, Retry, TradeState, Verdict


class ChangeTicket(msgspec.Struct, kw_only=True):
    """Everything about one document of kind cancel, close or amend; `symbol` is its target's, where it has one."""

    change: Change
    agent: str
    name: str
    document: bytes
    received_ns: Ns
    limits_sha256: str
    verdict: Verdict
    code: Code
    state: TradeState
    message: str
    retry: Retry = Retry.NEVER
    symbol: str | None = None
    stamps: Stamps = msgspec.field(default_factory=Stamps)
    seq: int = 0

    @property
    def intent_id(self) -> str:
        return self.change.intent_id

    @property
    def is_live(self) -> bool:
        """Never: what is left to do is its target's business."""
        return False
