"""Documents as files: refused, recognised, archived, and out of the drop folder.

Owns whose id is used up (`Seen`) and the papers of what could not be read. May not judge what a document says. The one
idea: a judged id belongs to its first document for ever; only the very file that a crash left behind is archived again.
"""

from __future__ import annotations

import hashlib
from typing import Any

from hands.core.breakers import count_fault
from hands.core.commands import Alert, AnyCommand, ArchiveDocument, RefuseDocument
from hands.core.events import DocumentReceived, DocumentSettled
from hands.core.intents import Change, Intent, Refusal
from hands.core.ledger_rows import rejection_record
from hands.core.receipts import refusal_receipt, time_text
from hands.core.state import Seen, State
from hands.core.units import Ns
from hands.core.vocab import Code

Out = list[AnyCommand]

_FAULTS = frozenset(
    {
        Code.MALFORMED_JSON,
        Code.DUPLICATE_KEY,
        Code.SCHEMA,
        Code.NOT_FINITE,
        Code.TOO_LARGE,
        Code.DUPLICATE_INTENT,
    }
)
"""Refusals that are the agent's own fault; a file somebody else put there latches nobody."""


def known_id(
    state: State, event: DocumentReceived, document: Intent | Change, known: Seen | None, out: Out
) -> None:
    """Tell the file that a crash left behind (same bytes, not yet archived) from a second document."""
    same_file = (
        known is not None and not known.settled and (known.agent, known.name) == (event.agent, event.name)
    )
    if known is not None and same_file and known.sha256 == hashlib.sha256(event.data).hexdigest():
        out.append(archive(document.intent_id, event.agent, event.name, event.data, known.at_ns, state))
        return
    kind = document.kind if isinstance(document, Change) else "intent"
    message = "this intent_id has been judged before; the first document's receipt stands"
    refuse(
        state,
        event,
        Refusal(code=Code.DUPLICATE_INTENT, message=message, intent_id=document.intent_id, kind=kind),
        out,
    )


def archive(
    intent_id: str, agent: str, name: str, data: bytes, judged_ns: int, state: State
) -> ArchiveDocument:
    wall_ns = judged_ns + state.wall_offset_ns
    return ArchiveDocument(intent_id=intent_id, agent=agent, name=name, data=data, judged_ns=wall_ns)


def refuse(state: State, event: DocumentReceived, refusal: Refusal, out: Out) -> None:
    answer = _refusal_receipt(state, event.agent, refusal, state.now_ns)
    answer["stamps_ns"]["file_event"] = event.file_event_ns
    answer["stamps_ns"]["decided"] = state.now_ns
    out.append(RefuseDocument(agent=event.agent, name=event.name, data=event.data, receipt=answer))
    detail = {"name": event.name, "message": refusal.message}
    out.append(
        rejection_record(
            refusal.intent_id, event.agent, refusal.code, None, refusal.message[:200], detail, state.now_ns
        )
    )
    if refusal.code in _FAULTS and state.limits.knows(event.agent):
        limits = state.limits.effective(event.agent, "")
        count_fault(state, out, event.agent, limits.rejections_latch)


def _refusal_receipt(state: State, agent: str, refusal: Refusal, now_ns: Ns) -> dict[str, Any]:
    return refusal_receipt(
        refusal.code,
        refusal.message,
        intent_id=refusal.intent_id,
        kind=refusal.kind,
        agent=agent,
        venue=state.venue,
        at=time_text(now_ns + state.wall_offset_ns) or "",
        limits_sha256=state.limits.sha256,
    )


def use_up(state: State, intent_id: str, agent: str, name: str, document: bytes) -> None:
    """Note that an id is used up by this document, which is judged now."""
    digest = hashlib.sha256(document).hexdigest()
    seen = Seen(sha256=digest, agent=agent, name=name, at_ns=state.now_ns, settled=False)
    state.seen[intent_id] = seen
    state.changed["seen", intent_id] = seen


def document_settled(state: State, event: DocumentSettled, out: Out) -> None:
    """A judged document's file has left the drop folder: from now on the same bytes are a duplicate."""
    known = state.seen.get(event.intent_id)
    if known is None:
        message = f"a document was archived that was never judged: {event.intent_id}"
        out.append(Alert(level="critical", code="UNKNOWN_DOCUMENT", message=message))
        return
    settled = Seen(sha256=known.sha256, agent=known.agent, name=known.name, at_ns=known.at_ns, settled=True)
    state.seen[event.intent_id] = settled
    state.changed["seen", event.intent_id] = settled
