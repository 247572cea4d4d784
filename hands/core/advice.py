"""What to do about a "no": one sentence for every code a receipt can carry.

Owns the receipt's `next` after a denial or a refusal. May not look at anything but the code and what the guardian said
with it. The one idea: it speaks to the agent, says what to do instead of what went wrong (that is the message), and
never tells it to claim more than it knows.
"""

from __future__ import annotations

from hands.core.vocab import Code

ADVICE: dict[Code, str] = {
    # refused: not readable as a document
    Code.MALFORMED_JSON: "Write the document with a JSON library, in UTF-8, and rename the finished file into place.",
    Code.DUPLICATE_KEY: "Write every key once, and send it under a new id.",
    Code.SCHEMA: "Hold the document against the intent's schema (`hands schema intent`), and send it under a new id.",
    Code.NOT_FINITE: "Find out why a number came out as NaN or infinity before anything else is sent.",
    Code.TOO_LARGE: "Shorten thesis and context, and send it under a new id.",
    Code.NOT_REGULAR_FILE: "Write a plain file under a name that begins with a dot, and rename it into the folder.",
    Code.UNAUTHORISED: "Do not send it again: the operator decides who may drop documents here, and until when.",
    Code.UNKNOWN_AGENT: "Do not send it again: the operator decides which agents there are and gives each its folder.",
    # the agent and its document
    Code.AGENT_LATCHED: "Stop sending and look at the last receipts: only the operator lifts the latch.",
    Code.DUPLICATE_INTENT: "Read the receipt of this id for what became of its first document; a new idea takes a new id.",
    Code.EXPIRED: "Decide again on the market of now; if the idea still holds, stamp and send it anew, under a new id.",
    Code.FUTURE_TIMESTAMP: "Set the agent's clock, stamp each document as it is written, and send it under a new id.",
    Code.TTL_TOO_LONG: "Ask for no more seconds than are allowed, and send it under a new id.",
    Code.HALTED: "Stop sending: nothing is entered until the operator resumes trading.",
    Code.NOT_READY: "Wait until Hands is ready to trade, then decide again and send under a new id.",
    Code.REDUCE_ONLY: "Wait until the reasons named here have cleared, then decide again and send under a new id.",
    Code.SYMBOL_NOT_ALLOWED: "Choose a symbol that is allowed here; whether this one should be is the operator's decision.",
    Code.ASSET_NOT_TRADABLE: "Choose another symbol: the venue does not let this one be traded now.",
    Code.SHORT_NOT_ALLOWED: "Do not send it again: this cannot be sold short here.",
    Code.LONG_NOT_ALLOWED: "Do not send it again: this agent may not buy here.",
    Code.CONFIDENCE_TOO_LOW: "Leave this idea, and do not raise the number for it: send only what is surer in itself.",
    Code.BRACKET_GEOMETRY: (
        "Check the direction, then put the stop on its losing side of both trigger_price and the market and the target on"
        " the other, and send it under a new id."
    ),
    # the session and the market
    Code.SESSION_CLOSED: "Wait for the part of the session in which entries are taken, then decide again ({when}).",
    Code.NO_MARKET_DATA: "Wait until the symbol has a bid and an ask again, then decide again and send under a new id.",
    Code.STALE_MARKET_DATA: "Wait until the symbol is quoted again, then decide again and send under a new id.",
    Code.SPREAD_TOO_WIDE: "Wait until the spread is narrower, then decide again and send under a new id.",
    Code.PRICE_COLLAR: "Check symbol and unit, take trigger_price from the market of now, and send it under a new id.",
    Code.SLIPPAGE: 'Let the price go or decide again at the market of now; entry "touch" waits for a price to come back.',
    Code.STOP_TOO_FAR: "Move stop_loss closer to the entry if the idea bears it, and send it under a new id.",
    Code.STOP_TOO_CLOSE: "Move stop_loss further from the entry if the idea bears it, and send it under a new id.",
    Code.REWARD_RISK_TOO_LOW: "Leave it unless a closer stop or a further target is honest, and send that under a new id.",
    # other trades and budgets
    Code.SYMBOL_BUSY: "Wait until what lives on the symbol has ended; there is one trade per symbol, whoever's it is.",
    Code.SEMANTIC_DUPLICATE: "Do not repeat the idea: follow the receipt of the one that was accepted ({when}).",
    Code.COOLDOWN: "Wait after the stop on this symbol, then decide again ({when}).",
    Code.CONCURRENT: "Wait until a live trade has ended, then decide again and send under a new id.",
    Code.DAILY_TRADES: "Stop for today: the day's trades are used up ({when}).",
    Code.DAILY_LOSS: "Stop or risk less with a closer stop: what may be lost today is lost or at risk ({when}).",
    Code.AGENT_BUDGET: "Stop for today: what this agent may have approved in a day is used up ({when}).",
    Code.ORDER_RATE: "Send less often: wait a minute, then decide again and send under a new id.",
    Code.ORDER_NOTIONAL: "Choose a symbol of which the smallest order costs less.",
    Code.GROSS_EXPOSURE: "Wait until something that is held or on its way has ended, then decide again.",
    Code.BUYING_POWER: "Wait until buying power is free again, then decide again and send under a new id.",
    Code.SIZE_TOO_SMALL: "Look at sizing.binding: a closer stop helps against the risk cap, a higher qty against qty.",
    Code.VENUE_RULE: "Change what the venue does not take, as the message says, and send it under a new id.",
    Code.APPROVAL_REQUIRED: "Wait for the operator's approval.",
    # documents that change an intent
    Code.NOTHING_TO_DO: "Read the receipt of target_id for how it stands; nothing was changed.",
}

NEAREST = "If the idea still holds with the values in nearest_admissible, send them under a new id; otherwise leave it."
"""Instead of the code's sentence, where numbers were found that would have passed."""


def advice(code: Code, *, when: str | None = None, nearest: bool = False) -> str:
    """Return one sentence; `when` is the time from which it may pass, where that is known."""
    if nearest:
        return NEAREST
    return ADVICE[code].format(when=f"from {when}, under a new id" if when else "later, under a new id")
