"""Changing one's mind about a trade: cancel it, close it or a part of it, amend its stop, target or time.

Owns what may be changed of a trade and what follows: `consider` (pure, so that anybody may ask "what if") and
`carry_out`. May not send anything itself, and asks no limit: less risk is never blocked. The one idea: it only sets what
is *wanted* (a stop, a part to close, an end), and `look_after` makes the venue follow, now or when it can be reached; so
what was wanted before a crash is wanted after it, and nothing is done twice.
"""

from __future__ import annotations

import msgspec

from hands.core.case import protective_limit, seconds_text
from hands.core.change_ticket import ChangeTicket
from hands.core.commands import Alert, AnyCommand
from hands.core.dues import want_exit
from hands.core.intents import Change
from hands.core.sizing import is_dust, mark_price
from hands.core.state import State
from hands.core.ticket import Plan, Ticket
from hands.core.units import Price, Qty, ceil_to, decimal_text, floor_to, mul_ceil, mul_floor
from hands.core.upkeep import disarm_ticket, look_after
from hands.core.venue_rules import CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN, price_tick
from hands.core.vocab import Code, ExitReason, Retry, Side, TradeState, TradingState, Verdict
from hands.core.watch import disarm

AGENT, OPERATOR = "its agent", "the operator"
"""Who changes a trade, in the words of its receipt."""

Out = list[AnyCommand]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one trade: `kind` is "cancel", "close" or "amend", the rest as in a document of that kind."""

    kind: str
    qty: Qty | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    max_hold_ns: int | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What will be done about it; `message` says so in one sentence.

    `disarms`, `withdraws` (what waits for its quote), `cancels` (the unfilled entry) and `closes` (everything) are ends;
    the others are the new values, None where nothing changes. `close_qty` is all that is then still to be closed of the
    position.
    """

    message: str
    disarms: bool = False
    withdraws: bool = False
    cancels: bool = False
    closes: bool = False
    close_qty: Qty | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    max_hold_ns: int | None = None


class Nothing(msgspec.Struct, frozen=True):
    """Why there is nothing to act on, and whether the same wish with other values could be."""

    message: str
    retry: Retry = Retry.NEVER


_NOT_OPEN = "it is not open: only what is held has a stop and a target to move"


def own_target(state: State, agent: str, target_id: str) -> Ticket | None:
    """Return the agent's own intent under that id, None where there is none; what others have it is not told."""
    ticket = state.ticket(target_id) or state.waiting_ticket(target_id)
    return ticket if ticket is not None and ticket.agent == agent else None


def answer(state: State, found: ChangeTicket) -> Step | Nothing:
    """Judge a document that changes an intent, and write the verdict into its record; changes nothing else."""
    change = found.change
    if state.trading_state is TradingState.HALTED:
        why = ", ".join(sorted(state.reasons))
        result: Step | Nothing = Nothing(f"trading is halted ({why}): only the operator acts", Retry.AFTER)
        found.code = Code.HALTED
    else:
        ticket = own_target(state, found.agent, change.target_id)
        if ticket is None:
            result = Nothing("there is no intent of this agent under that id")
        else:
            found.symbol = ticket.symbol
            result = consider(state, ticket, wanted_by(change))
        found.code = Code.NOTHING_TO_DO
    found.message = result.message
    if isinstance(result, Step):
        found.verdict, found.code, found.state = Verdict.ACCEPTED, Code.OK, TradeState.DONE
    else:
        found.verdict, found.state, found.retry = Verdict.REJECTED, TradeState.REJECTED, result.retry
    return result


def wanted_by(change: Change) -> Wanted:
    """Return what a document wants of its target."""
    return Wanted(
        kind=change.kind,
        qty=change.qty,
        stop_loss=change.stop_loss,
        take_profit=change.take_profit,
        max_hold_ns=change.max_hold_ns,
    )


def consider(state: State, ticket: Ticket, wanted: Wanted) -> Step | Nothing:
    """Return what would be done about a trade, or why there is nothing to do; changes nothing."""
    if state.waiting_ticket(ticket.intent_id) is not None:
        if wanted.kind == "amend":
            return Nothing(_NOT_OPEN, Retry.CHANGED)
        return Step(message="it waits for a quote no longer and is not entered", withdraws=True)
    if not ticket.is_live:
        return Nothing(f"it is over already ({ticket.state})")
    match wanted.kind:
        case "cancel":
            return _cancel(ticket)
        case "close":
            return _close(state, ticket, wanted.qty)
        case _:
            return _amend(state, ticket, wanted)


# --- cancel ------------------------------------------------------------------------------------------------


def _cancel(ticket: Ticket) -> Step | Nothing:
    if ticket.state is TradeState.ARMED:
        return Step(message="it waits for its price no longer", disarms=True)
    entry = ticket.entry
    if entry is None or not entry.is_live:
        if ticket.owned > 0 and ticket.exit_reason is None:
            held = decimal_text(ticket.owned)
            return Nothing(f"its entry is over and {held} are held: only a close ends that", Retry.CHANGED)
        return Nothing("its entry is over and what it bought is being closed")
    if ticket.cancel_note or ticket.exit_reason is not None:
        return Nothing("its entry is being cancelled already")
    if ticket.owned > 0:
        held = decimal_text(ticket.owned)
        return Step(
            message=f"the rest of its entry is cancelled; the {held} it holds stay protected", cancels=True
        )
    return Step(message="its entry is cancelled; what fills until then is kept and protected", cancels=True)


# --- close -------------------------------------------------------------------------------------------------


def _close(state: State, ticket: Ticket, qty: int | None) -> Step | Nothing:
    if ticket.state is TradeState.ARMED:
        return Step(message="nothing is held: it waits for its price no longer", disarms=True)
    plan, entry, owned = ticket.plan, ticket.entry, ticket.owned
    at_target = ticket.exit_reason is ExitReason.TAKE_PROFIT and qty is None
    if plan is None or (ticket.exit_reason is not None and not at_target):
        return Nothing(f"it is being closed already: {ticket.exit_note or 'its exit is on its way'}")
    if owned <= 0:
        if entry is None or not entry.is_live:
            return Nothing("nothing is held any more")
        return Step(
            message="nothing is held yet: its entry is cancelled, and what fills until then is closed",
            closes=True,
        )
    shut = waits_for_open(state, plan)
    waits = "; the market is closed: its stop stays, the exit waits for the open" if shut else ""
    if qty is None:
        return Step(message=f"all {decimal_text(owned)} are being closed{waits}", closes=True)
    return _close_part(state, ticket, plan, qty, waits)


def _close_part(state: State, ticket: Ticket, plan: Plan, qty: int, waits: str) -> Step | Nothing:
    """A part is closed only where both it and the rest can be sold; else everything is, or nothing."""
    owned, before = ticket.owned, ticket.close_qty
    part = floor_to(qty, plan.lot)
    rest = owned - before - part
    if rest <= 0:
        beyond = " (no more is held)" if rest < 0 else ""
        return Step(message=f"all {decimal_text(owned)} are being closed{beyond}{waits}", closes=True)
    mark = mark_price(state, ticket)
    if part <= 0 or (mark is not None and is_dust(ticket, part, mark)):
        return Nothing(f"{decimal_text(qty)} are too few for the venue to sell", Retry.CHANGED)
    if not _can_rest(state, ticket, plan, rest):
        left = decimal_text(rest)
        message = f"all {decimal_text(owned)} are being closed: the venue would not sell the {left} left over{waits}"
        return Step(message=message, closes=True)
    in_all = f", with those before {decimal_text(before + part)} in all" if before else ""
    message = f"{decimal_text(part)} of {decimal_text(owned)} are being closed{in_all}; the rest stays protected{waits}"
    return Step(message=message, close_qty=Qty(before + part))


def _can_rest(state: State, ticket: Ticket, plan: Plan, rest: int) -> bool:
    """Whether what is left could be protected: at least a lot, and worth enough where its stop would sell it."""
    if rest < plan.lot:
        return False
    if not plan.is_crypto:
        return True
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    worst = protective_limit(ticket.stop_loss, limits, plan.price_increment, long=ticket.is_long)
    return mul_floor(worst, rest) >= mul_ceil(CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN)


def waits_for_open(state: State, plan: Plan) -> bool:
    """Whether an exit would have to wait for the session: its stop stays meanwhile."""
    session = state.session
    return not plan.is_crypto and not (session is not None and session.is_open_at(state.now_ns))


# --- amend -------------------------------------------------------------------------------------------------


def _amend(state: State, ticket: Ticket, wanted: Wanted) -> Step | Nothing:
    plan = ticket.plan
    if ticket.frozen:
        return Nothing(f"it is frozen, so no price of it is moved: {ticket.frozen}")
    if plan is None or ticket.owned <= 0:
        return Nothing(_NOT_OPEN, Retry.CHANGED)
    if ticket.exit_reason is not None:
        return Nothing(f"it is being closed already: {ticket.exit_note or 'its exit is on its way'}")
    stop = _new_stop(state, ticket, plan, wanted.stop_loss)
    if isinstance(stop, Nothing):
        return stop
    target = _new_target(state, ticket, plan, wanted.take_profit, stop or ticket.stop_loss)
    if isinstance(target, Nothing):
        return target
    hold, before = wanted.max_hold_ns, ticket.max_hold_ns
    if hold is not None and before is not None and hold > before:
        text = f"{seconds_text(hold)} s is longer than {seconds_text(before)} s: it can only be held for less"
        return Nothing(text, Retry.CHANGED)
    if hold == before:
        hold = None
    said = []
    if stop is not None:
        said.append(f"its stop moves from {decimal_text(ticket.stop_loss)} to {decimal_text(stop)}")
    if target is not None:
        now = ticket.take_profit
        origin = "" if now is None else f" from {decimal_text(now)}"
        said.append(f"its target moves{origin} to {decimal_text(target)}")
    if hold is not None:
        said.append(f"it is held for at most {seconds_text(hold)} s")
    if not said:
        return Nothing("it stands so already", Retry.CHANGED)
    return Step(message="; ".join(said), stop_loss=stop, take_profit=target, max_hold_ns=hold)


def _new_stop(state: State, ticket: Ticket, plan: Plan, wanted: int | None) -> Price | Nothing | None:
    """Return the stop that is wanted, on the venue's tick towards the entry; None where it is there already."""
    if wanted is None:
        return None
    stop, now = towards_market(plan, wanted), ticket.stop_loss
    if stop == now:
        return None
    asked = f"{decimal_text(stop)}"
    if (stop < now) is ticket.is_long:
        return Nothing(
            f"{asked} is looser than {decimal_text(now)}: a stop can only be tightened", Retry.CHANGED
        )
    market = last_quote(state, ticket.symbol, ask=not ticket.is_long)
    if market is not None and (stop >= market if ticket.is_long else stop <= market):
        message = f"a stop at {asked} is at or through the market ({decimal_text(market)}): only a close ends it now"
        return Nothing(message, Retry.CHANGED)
    target = ticket.take_profit
    if target is not None and (stop >= target if ticket.is_long else stop <= target):
        return Nothing(
            f"a stop at {asked} is at or beyond the target ({decimal_text(target)})", Retry.CHANGED
        )
    return stop


def _new_target(
    state: State, ticket: Ticket, plan: Plan, wanted: int | None, stop: int
) -> Price | Nothing | None:
    """Return the target that is wanted, on the venue's tick towards the entry; None where it is there already."""
    if wanted is None:
        return None
    tick = price_tick(plan.asset_class, wanted, plan.price_increment)
    target = Price(floor_to(wanted, tick) if ticket.is_long else ceil_to(wanted, tick))
    if target == ticket.take_profit:
        return None
    market = last_quote(state, ticket.symbol, ask=ticket.is_long)
    if market is not None and (target <= market if ticket.is_long else target >= market):
        message = (
            f"a target at {decimal_text(target)} is on the wrong side of the market ({decimal_text(market)})"
        )
        return Nothing(message, Retry.CHANGED)
    if target <= stop if ticket.is_long else target >= stop:
        message = (
            f"a target at {decimal_text(target)} is on the wrong side of the stop ({decimal_text(stop)})"
        )
        return Nothing(message, Retry.CHANGED)
    return target


def towards_market(plan: Plan, stop: int) -> Price:
    """Return a stop's price on the venue's tick, rounded towards the entry: never looser than it was asked for."""
    tick = price_tick(plan.asset_class, stop, plan.price_increment)
    is_long = plan.side is Side.BUY
    return Price(ceil_to(stop, tick) if is_long else floor_to(stop, tick))


def last_quote(state: State, symbol: str, *, ask: bool) -> Price | None:
    """Return one side of the last quote, however old: a stop that is through even that one is through."""
    index = state.market.index.get(symbol)
    return None if index is None else state.market.side(index, ask)


# --- carrying out ------------------------------------------------------------------------------------------


def carry_out(state: State, ticket: Ticket, step: Step, who: str, out: Out) -> None:
    """Set what is wanted, and let the trade be looked after; `who` is AGENT or OPERATOR."""
    if step.disarms:
        disarm_ticket(state, ticket, TradeState.CANCELED, f"cancelled by {who}", out)
        return
    if step.cancels:
        ticket.cancel_note = f"cancelled by {who}"
    if step.closes:
        end(state, ticket, ExitReason.MANUAL, f"closed by {who}")
    if step.close_qty is not None:
        ticket.close_qty = step.close_qty
    if who == AGENT and (step.closes or step.close_qty is not None):  # the operator's acts are told as such
        out.append(Alert(level="info", code="MANUAL", message=f"{ticket.symbol}, by {who}: {step.message}"))
    if step.stop_loss is not None:
        ticket.stop_moved = step.stop_loss
        disarm(state, ticket.intent_id, "stop")  # watched anew, at its new price
    if step.take_profit is not None:
        ticket.target_moved = step.take_profit
        disarm(state, ticket.intent_id, "target")
    if step.max_hold_ns is not None:
        ticket.hold_moved_ns = step.max_hold_ns
    state.touch(ticket)
    look_after(state, ticket, out)


def end(state: State, ticket: Ticket, reason: ExitReason, note: str) -> None:
    """Want all of a trade closed. An exit at its target would be given up if the target slipped away: this is not."""
    if ticket.exit_reason is ExitReason.TAKE_PROFIT:
        ticket.exit_reason = None
    ticket.close_qty = Qty(0)
    if ticket.owned <= 0 and not ticket.cancel_note:
        ticket.cancel_note = note.replace("closed", "cancelled")
    want_exit(state, ticket, reason, note)
