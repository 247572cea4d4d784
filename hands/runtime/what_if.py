"""What would be said to a document if it were dropped now: a verdict without consequences.

Owns the question only; the answer is the guardian's own (`hands.core.risk.judge`, which changes nothing) in the
words of a receipt. May not approve, count or remember. The one idea: the same `Case` and the same checks as for
a dropped document, on the same state, so that asking first can never be told something else.
"""

from __future__ import annotations

from typing import Any

from hands.core.case import Case
from hands.core.change_ticket import ChangeTicket
from hands.core.changes import answer
from hands.core.intents import Change, Refusal, read_document
from hands.core.nearest import nearest
from hands.core.receipts import receipt, refusal_receipt, time_text
from hands.core.risk import CHECKS, Check, Judgement, judge
from hands.core.state import State
from hands.core.ticket import Stamps, Ticket
from hands.core.units import Ns
from hands.core.vocab import Code, Retry, TradeState, Verdict


def what_if(
    state: State, document: bytes, agent: str, now_ns: int, asked: tuple[Check, ...] = CHECKS
) -> dict[str, Any]:
    """Return the receipt that `document` would get at `now_ns`; accepted, its state is DRAFT.

    `asked` may be fewer checks than all of them, where part of the state is not known.
    """
    found = state.limits.turned_away(agent, now_ns + state.wall_offset_ns) or read_document(document)
    if isinstance(found, Refusal):
        return _refused(state, found, agent, now_ns)
    if found.intent_id in state.seen:
        message = "this intent_id has been judged before; the first document's receipt stands"
        kind = found.kind if isinstance(found, Change) else "intent"
        duplicate = Refusal(code=Code.DUPLICATE_INTENT, message=message, intent_id=found.intent_id, kind=kind)
        return _refused(state, duplicate, agent, now_ns)
    if isinstance(found, Change):
        return _change(state, found, document, agent, now_ns, offline=asked is not CHECKS)
    ticket = Ticket(
        intent=found,
        agent=agent,
        name="",
        document=document,
        received_ns=Ns(now_ns),
        deadline_ns=Ns(min(found.timestamp_ns - state.wall_offset_ns, now_ns) + found.ttl_ns),
        limits_sha256=state.limits.sha256,
    )
    arming = found.entry == "touch" or asked is not CHECKS
    case = Case(state, found, agent, now_ns, ticket.deadline_ns, arming=arming)
    judgement = judge(case, asked)
    _answer(ticket, judgement, now_ns)
    ticket.nearest = nearest(case, judgement, asked)
    return receipt(state, ticket) | {"seq": 0, "at": time_text(now_ns + state.wall_offset_ns)}


def _change(
    state: State, change: Change, document: bytes, agent: str, now_ns: int, *, offline: bool
) -> dict[str, Any]:
    """Return the receipt of a document that would change an intent; offline, its target is not known."""
    found = ChangeTicket(
        change=change,
        agent=agent,
        name="",
        document=document,
        received_ns=Ns(now_ns),
        limits_sha256=state.limits.sha256,
        verdict=Verdict.ACCEPTED,
        code=Code.OK,
        state=TradeState.DRAFT,
        message="it reads well; whether there is anything to act on only the daemon knows (--live)",
        stamps=Stamps(decided=Ns(now_ns)),
    )
    if not offline:
        answer(state, found)
    if found.verdict is Verdict.ACCEPTED and not offline:
        found.state, found.message = TradeState.DRAFT, f"nothing was done; sent, {found.message}"
    return receipt(state, found) | {"at": time_text(now_ns + state.wall_offset_ns)}


def _refused(state: State, refusal: Refusal, agent: str, now_ns: int) -> dict[str, Any]:
    return refusal_receipt(
        refusal.code,
        refusal.message,
        intent_id=refusal.intent_id,
        kind=refusal.kind,
        agent=agent,
        venue=str(state.venue),
        at=time_text(now_ns + state.wall_offset_ns) or "",
        limits_sha256=state.limits.sha256,
    )


def _answer(ticket: Ticket, judgement: Judgement, now_ns: int) -> None:
    ticket.checks, ticket.sizing, ticket.code = judgement.findings, judgement.sizing, judgement.code
    ticket.stamps.decided = Ns(now_ns)
    denial = judgement.denial
    if denial is not None:
        ticket.verdict, ticket.state, ticket.message = Verdict.REJECTED, TradeState.REJECTED, denial.message
        ticket.retry, ticket.retry_at_ns = denial.retry, denial.retry_at_ns
        return
    ticket.plan = judgement.plan
    ticket.verdict, ticket.state, ticket.retry = Verdict.ACCEPTED, TradeState.DRAFT, Retry.NEVER
    ticket.message = "it would be accepted; nothing was sent"
