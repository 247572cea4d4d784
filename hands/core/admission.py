"""Documents: from raw bytes to a verdict, and from a verdict to an order, a waiting touch or a receipt.

Owns the way in. A document is read, held against every id ever judged, judged by the guardian, and then either
becomes a ticket with an order (written ahead and sent in the same turn), waits for its touch, or is answered with
a reason. May not approve anything itself: that is `hands.core.risk`.
"""

from __future__ import annotations

from collections import deque

from hands.core.breakers import count_fault, forgive, keep_watching
from hands.core.budgets import spend
from hands.core.case import Case
from hands.core.change_ticket import ChangeTicket
from hands.core.changes import AGENT, Step, answer, carry_out, own_target
from hands.core.commands import AnyCommand, FetchQuote, SubmitEntry
from hands.core.events import DocumentReceived, QuoteFetched
from hands.core.filing import archive, known_id, refuse, use_up
from hands.core.freshness import confirm_quote, link_of, note_answer
from hands.core.ideas import Accepted
from hands.core.intents import Change, Intent, Refusal, read_document
from hands.core.ledger_rows import bare_scene, intent_record, order_record, rejection_record, scene
from hands.core.market import TriggerDirection, TriggerOn
from hands.core.nearest import is_curable, may_suggest, nearest
from hands.core.orders import ApprovedEntry
from hands.core.other_trades import idea
from hands.core.receipts import finding_row
from hands.core.risk import EARLY, Judgement, approve, judge
from hands.core.sizing import RATE_WINDOW_NS
from hands.core.state import State, Waiting
from hands.core.ticket import Arming, Order, Stamps, Ticket
from hands.core.units import NANO, Ns
from hands.core.venue_rules import fee_rate
from hands.core.vocab import Code, Leg, OrderType, Retry, TradeState, Verdict
from hands.core.watch import arm, disarm

Out = list[AnyCommand]

_QUIET = frozenset({Code.STALE_MARKET_DATA, Code.NO_MARKET_DATA})

WAITING_MAX = 100
"""How many documents wait for one symbol's quote: all are judged in the turn in which it comes, which takes some
10 ms. Of a flood the rest are judged as things are."""

ACCEPTED_KEPT_NS = 86_400 * NANO
"""How long accepted intents are remembered for the semantic-duplicate check: its longest window."""


def document_received(state: State, event: DocumentReceived, out: Out) -> None:
    """Take a file from the drop folder: refuse it, recognise it, or judge it."""
    if event.fault is not None:
        refuse(state, event, Refusal(code=event.fault, message=event.fault_detail), out)
        return
    wall_ns = state.now_ns + state.wall_offset_ns
    found = state.limits.turned_away(event.agent, wall_ns) or read_document(event.data)
    if isinstance(found, Refusal):
        refuse(state, event, found, out)
        return
    known, waiting = state.seen.get(found.intent_id), state.waiting_ticket(found.intent_id)
    file = event.agent, event.name, event.data
    if waiting is not None and (waiting.agent, waiting.name, waiting.document) == file:
        return  # the very file that waits for its quote, noticed a second time
    if known is not None or waiting is not None:
        known_id(state, event, found, known, out)
        return
    if isinstance(found, Change):
        _change(state, event, found, out)
        return
    ticket = _ticket(
        state, found, event.agent, name=event.name, document=event.data, received_ns=state.now_ns
    )
    ticket.stamps.file_event = event.file_event_ns
    _judge_new(state, ticket, out, may_wait=True)


def _ticket(
    state: State, intent: Intent, agent: str, *, name: str, document: bytes, received_ns: Ns
) -> Ticket:
    """Return a new ticket; its deadline is min(timestamp, received) + ttl_seconds, on the engine's clock."""
    born = min(intent.timestamp_ns - state.wall_offset_ns, received_ns)
    return Ticket(
        intent=intent,
        agent=agent,
        name=name,
        document=document,
        received_ns=received_ns,
        deadline_ns=Ns(born + intent.ttl_ns),
        limits_sha256=state.limits.sha256,
    )


# --- judging -----------------------------------------------------------------------------------------------


def _judge_new(state: State, ticket: Ticket, out: Out, *, may_wait: bool) -> None:
    """Judge a document for the first time; a quiet symbol on a live feed gets one fresh quote first."""
    intent = ticket.intent
    arming = intent.entry == "touch"
    case = Case(state, intent, ticket.agent, state.now_ns, ticket.deadline_ns, arming=arming, priced=False)
    judgement = judge(case, EARLY)
    if judgement.denial is None:
        case.price()
        judgement = judge(case)
    if may_wait and judgement.code in _QUIET and _feed_is_up(state, ticket):
        queue = state.waiting.setdefault(ticket.symbol, {})
        if len(queue) < WAITING_MAX:
            _wait_for_quote(state, ticket, queue, out)
            return
    use_up(state, ticket.intent_id, ticket.agent, ticket.name, ticket.document)
    _answer(state, ticket, case, judgement, out)
    out.append(archive(ticket.intent_id, ticket.agent, ticket.name, ticket.document, state.now_ns, state))


def _answer(state: State, ticket: Ticket, case: Case, judgement: Judgement, out: Out) -> None:
    """Turn a judgement into an order, a waiting touch or a rejection."""
    ticket.checks, ticket.sizing, ticket.code = judgement.findings, judgement.sizing, judgement.code
    ticket.stamps.decided, ticket.limits_sha256 = state.now_ns, state.limits.sha256
    if judgement.denial is not None:
        _reject(state, ticket, case, judgement, out)
    elif case.arming:
        _wait_for_touch(state, ticket, case)
        _remember(state, ticket, case)
        forgive(state, ticket.agent)
    else:
        _enter(state, ticket, case, judgement, out)
        forgive(state, ticket.agent)
    out.append(intent_record(ticket))
    if not ticket.is_live:
        state.finish(ticket)
        return
    state.add(ticket)
    state.touch(ticket)
    if not case.arming:
        keep_watching(state)


def _note_indicators(state: State, ticket: Ticket) -> None:
    """Keep what the market looked like at the entry, for the episode."""
    found = state.market.indicators(state.market.index[ticket.symbol])
    ticket.indicators = {
        "rsi_14": found.rsi_14,
        "macd_signal": found.macd_signal,
        "vwap": found.vwap,
        "volume_24h": found.volume_24h,
    }


def _reject(state: State, ticket: Ticket, case: Case, judgement: Judgement, out: Out) -> None:
    denial, check = judgement.denial, judgement.check
    assert denial is not None
    assert check is not None
    ticket.verdict, ticket.state, ticket.message = Verdict.REJECTED, TradeState.REJECTED, denial.message
    ticket.retry, ticket.retry_at_ns = denial.retry, denial.retry_at_ns
    ticket.closed_ns = state.now_ns
    row = finding_row(denial.finding)
    detail = row | {"scene": bare_scene(case) if check.early else scene(case)}
    out.append(
        rejection_record(
            ticket.intent_id, ticket.agent, check.code, row["limit"], row["observed"], detail, state.now_ns
        )
    )
    if check.fault:
        count_fault(state, out, ticket.agent, case_limit(state, ticket))
    if is_curable(judgement) and may_suggest(state):
        ticket.nearest = nearest(case, judgement)


def case_limit(state: State, ticket: Ticket) -> int:
    """Return how many faults in a row latch this ticket's agent."""
    return state.limits.effective(ticket.agent, ticket.symbol).rejections_latch


def _enter(state: State, ticket: Ticket, case: Case, judgement: Judgement, out: Out) -> None:
    """Approve, count, and hand the entry over; the journal writes all of it ahead of the first byte."""
    entry = approve(case, judgement)
    ticket.plan = judgement.plan
    _note_indicators(state, ticket)
    ticket.fee_rate = fee_rate(entry.asset_class)
    ticket.verdict, ticket.code, ticket.retry = Verdict.ACCEPTED, Code.OK, Retry.NEVER
    if state.dry_run:
        ticket.state, ticket.message, ticket.closed_ns = TradeState.DRAFT, "dry run: not sent", state.now_ns
        return
    ticket.state, ticket.message = TradeState.WORKING, "every check passed; the order is on its way"
    order = _entry_order(state, entry)
    ticket.orders[order.client_order_id] = order
    state.index_order(order)
    out.append(SubmitEntry(entry=entry))
    out.append(order_record(order))
    spend(state, ticket)
    state.approvals.append((state.now_ns, ticket.agent))
    while state.approvals and state.approvals[0][0] <= state.now_ns - RATE_WINDOW_NS:
        state.approvals.popleft()
    _remember(state, ticket, case)
    state.wake_at(ticket.deadline_ns, "ticket", ticket.intent_id)


def recall_approvals(state: State) -> None:
    """Count the last minute's entries again after a start: from the accepted intents that the journal kept."""
    state.approvals = deque(
        (int(accepted.at_ns), state.seen[accepted.intent_id].agent)
        for accepted in state.accepted
        if accepted.entered
        and accepted.at_ns > state.now_ns - RATE_WINDOW_NS
        and accepted.intent_id in state.seen
    )


def _entry_order(state: State, entry: ApprovedEntry) -> Order:
    return Order(
        client_order_id=entry.client_order_id,
        intent_id=entry.intent_id,
        leg=Leg.ENTRY,
        symbol=entry.symbol,
        side=entry.side,
        order_type=OrderType.LIMIT,
        order_class=entry.order_class,
        time_in_force=entry.time_in_force,
        qty=entry.qty,
        limit_price=entry.limit_price,
        created_ns=state.now_ns,
    )


def _remember(state: State, ticket: Ticket, case: Case) -> None:
    """Keep an accepted idea for the semantic-duplicate check, and let the oldest go."""
    accepted = Accepted(
        at_ns=state.now_ns,
        intent_id=ticket.intent_id,
        symbol=ticket.symbol,
        direction=ticket.intent.direction,
        prices=idea(case),
        entered=not case.arming,
    )
    state.accepted.append(accepted)
    state.changed["accepted", ticket.intent_id] = accepted
    for intent_id in state.accepted.forget_before(state.now_ns - ACCEPTED_KEPT_NS):
        state.changed["accepted", intent_id] = None


# --- changing one's mind ---------------------------------------------------------------------------------


def _change(state: State, event: DocumentReceived, change: Change, out: Out) -> None:
    """Answer a document that changes an intent, and carry it out. No limit, budget or latch has a say in it."""
    found = ChangeTicket(
        change=change,
        agent=event.agent,
        name=event.name,
        document=event.data,
        received_ns=state.now_ns,
        limits_sha256=state.limits.sha256,
        verdict=Verdict.REJECTED,
        code=Code.OK,
        state=TradeState.REJECTED,
        message="",
        stamps=Stamps(file_event=event.file_event_ns, decided=state.now_ns),
    )
    use_up(state, found.intent_id, event.agent, event.name, event.data)
    step, ticket = answer(state, found), own_target(state, event.agent, change.target_id)
    out.append(intent_record(found))
    if isinstance(step, Step) and ticket is not None:
        do_step(state, ticket, step, AGENT, out)
    else:
        detail = {"kind": change.kind, "target_id": change.target_id, "message": found.message}
        out.append(
            rejection_record(
                found.intent_id, found.agent, found.code, None, found.message[:200], detail, state.now_ns
            )
        )
    state.note_change(found)
    out.append(archive(found.intent_id, found.agent, found.name, found.document, state.now_ns, state))


def do_step(state: State, ticket: Ticket, step: Step, who: str, out: Out) -> None:
    """Carry out what was decided about a trade, or about an intent that still waits for its quote: that one is judged
    now, as one whose deadline has come."""
    if not step.withdraws:
        carry_out(state, ticket, step, who, out)
        return
    state.waiting[ticket.symbol].pop(ticket.intent_id)
    ticket.deadline_ns = state.now_ns
    _judge_new(state, ticket, out, may_wait=False)
    ticket.message = f"cancelled by {who} while it waited for a quote"


# --- waiting for a quote -----------------------------------------------------------------------------------


def _feed_is_up(state: State, ticket: Ticket) -> bool:
    return state.links.get(link_of(ticket.symbol), False)


def _wait_for_quote(state: State, ticket: Ticket, queue: dict[str, Waiting], out: Out) -> None:
    """Ask the venue once for the latest quote; judged when it is there, at the latest at the deadline."""
    if not queue:
        out.append(FetchQuote(symbol=ticket.symbol))
    queue[ticket.intent_id] = Waiting(ticket=ticket, until_ns=ticket.deadline_ns)
    state.wake_at(ticket.deadline_ns, "waiting", ticket.symbol)


def quote_fetched(state: State, event: QuoteFetched, out: Out) -> None:
    """The quote has come, or will not: everything that waited for it is judged as things are.

    While stopping nothing new is judged: the file is still in the drop folder, for the next start.
    """
    note_answer(state, event)
    if event.ok:
        confirm_quote(state, event.symbol, event.venue_ns, event.asked_ns)
    if state.stopping:
        state.waiting.pop(event.symbol, None)
        return
    for waiting in state.waiting.pop(event.symbol, {}).values():
        _judge_new(state, waiting.ticket, out, may_wait=False)


def waiting_over(state: State, symbol: str, out: Out) -> None:
    """Judge what has waited for a quote until its deadline (it will be EXPIRED)."""
    queue = state.waiting.pop(symbol, {})
    if state.stopping:
        return
    still = {key: waiting for key, waiting in queue.items() if state.now_ns < waiting.until_ns}
    if still:
        state.waiting[symbol] = still
    for key, waiting in queue.items():
        if key not in still:
            _judge_new(state, waiting.ticket, out, may_wait=False)


# --- waiting for a touch -----------------------------------------------------------------------------------


def _wait_for_touch(state: State, ticket: Ticket, case: Case) -> None:
    """Arm a touch: it fires at or through its price, coming from the side the market is on now."""
    intent = ticket.intent
    assert case.two_sided is not None
    upward = 2 * intent.trigger_price >= sum(case.two_sided)
    born = min(intent.timestamp_ns - state.wall_offset_ns, state.now_ns)
    until = born + (intent.arm_ns if intent.arm_ns is not None else intent.ttl_ns)
    if state.session is not None and "/" not in ticket.symbol:
        until = min(until, state.session.next_close_ns)
    expires_ns = state.limits.may(ticket.agent).expires_ns
    if expires_ns is not None:
        until = min(until, expires_ns - state.wall_offset_ns)
    ticket.arming = Arming(level=intent.trigger_price, upward=upward, until_ns=Ns(until))
    ticket.verdict, ticket.code, ticket.state = Verdict.ACCEPTED, Code.OK, TradeState.ARMED
    ticket.message = "waiting for its price"
    arm_touch(state, ticket)


def arm_touch(state: State, ticket: Ticket) -> None:
    """Arm a touch, or arm it again after a start."""
    arming = ticket.arming
    assert arming is not None
    on = TriggerOn.TRADE
    if "/" in ticket.symbol:
        on |= TriggerOn.ASK if ticket.is_long else TriggerOn.BID
    direction = TriggerDirection.ABOVE if arming.upward else TriggerDirection.BELOW
    arm(state, ticket, "touch", on, direction, arming.level)
    # one that is over already (the engine was down) is looked at with the next event, not again within this one
    state.wake_at(max(arming.until_ns, state.now_ns + 1), "ticket", ticket.intent_id)


def rejudge_touch(state: State, ticket: Ticket, out: Out) -> None:
    """A touch fired: a fresh time to live starts and everything is judged again."""
    disarm(state, ticket.intent_id, "touch")
    over = state.limits.turned_away(ticket.agent, state.now_ns + state.wall_offset_ns)
    if over is not None:  # the agent is gone, or its time was cut short, while this waited
        ticket.state, ticket.message, ticket.closed_ns = TradeState.EXPIRED, over.message, state.now_ns
        state.finish(ticket)
        out.append(intent_record(ticket))
        return
    ticket.deadline_ns = Ns(state.now_ns + ticket.intent.ttl_ns)
    ticket.fired_ns = state.now_ns
    case = Case(state, ticket.intent, ticket.agent, state.now_ns, ticket.deadline_ns, arming=False, new=False)
    _answer(state, ticket, case, judge(case), out)
