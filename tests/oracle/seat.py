"""The engine in the oracle's chair: a scenario becomes a `State`, the document goes through `decide`, the outcome is read.

Owns the translation, both ways. May not judge, and may not work anything out that the scenario does not say: what the
engine finds by itself (rounding, ages, sums, sizes) has to come from the engine.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache

import msgspec

from hands.core.capabilities import Capabilities
from hands.core.commands import AnyCommand, FetchQuote, RefuseDocument, SubmitEntry
from hands.core.engine import decide
from hands.core.events import (
    AccountReport,
    Asset,
    DocumentReceived,
    Link,
    QuoteFetched,
    SessionReport,
    TriggersFired,
)
from hands.core.ideas import Accepted
from hands.core.limits import AgentLimits, Limits, LimitsFile, SessionRules, read_limits
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.receipts import time_text
from hands.core.state import AgentBook, Confirmation, DayBook, Halt, Reason, Seen, State
from hands.core.units import NANO, Ns, Price, Qty, Usd
from hands.core.vocab import (
    AssetClass,
    Direction,
    TradeState,
    TradingState,
    Venue,
)
from tests.core.world import SHIPPED, intent_id
from tests.oracle.scenario import MS, SECOND, SYMBOLS, Outcome, Quote, Scenario
from tests.oracle.tickets import add_idea, add_trade, nano, stored_prices

D = Decimal
ROLL_AGO_NS = 17 * 3600 * SECOND
COUNTS = {"max_daily_trades", "max_concurrent", "orders_per_minute", "rejections_latch"}


# --- the limits ------------------------------------------------------------------------------------------------


@cache
def stored(key: str, value: Decimal) -> int:
    """Return a limit as the limits file stores it."""
    if key in COUNTS:
        scale = 1
    elif key.endswith("_ms"):
        scale = MS
    elif key.endswith(("_s", "seconds")):
        scale = SECOND
    else:
        scale = NANO
    assert value * scale == int(value * scale), (key, value)
    return int(value * scale)


@cache
def shipped() -> LimitsFile:
    return read_limits(SHIPPED)


@cache
def shipped_values() -> dict[str, Decimal]:
    """Return every hard limit of the shipped file, as the file writes it."""
    table = {}
    for line in SHIPPED.split("[hard_limits]")[1].split("[symbols]")[0].splitlines():
        name, _, value = line.split("#")[0].partition("=")
        if value:
            table[name.strip()] = D(value.strip())
    return table


def limits_of(s: Scenario) -> LimitsFile:
    hard = Limits(**{key: stored(key, value) for key, value in s.hard.items()})
    agents = {}
    for name, agent in s.agents.items():
        tighter = {key: stored(key, value) for key, value in agent.limits.items()}
        expires = (
            None if agent.expires_in_ns is None else Ns(s.now_ns + s.wall_offset_ns + agent.expires_in_ns)
        )
        may = Capabilities(
            symbols=agent.symbols,
            directions=tuple(Direction(word) for word in agent.directions),
            daily_notional_usd=None if agent.daily_notional is None else Usd(nano(agent.daily_notional)),
            expires="" if expires is None else "then",
            expires_ns=expires,
        )
        agents[name] = AgentLimits(limits=msgspec.structs.replace(hard, **tighter), user=None, may=may)
    rules = SessionRules(
        no_entry_first_s=s.no_entry_first_s * SECOND,
        no_entry_last_s=s.no_entry_last_s * SECOND,
        flatten_before_close_s=0,
    )
    return msgspec.structs.replace(
        shipped(),
        hard=hard,
        allow=s.allow,
        allow_short=s.allow_short,
        symbols={
            symbol: {key: stored(key, value) for key, value in table.items()}
            for symbol, table in s.by_symbol.items()
        },
        session=rules,
        agents=agents,
    )


# --- the state -------------------------------------------------------------------------------------------------


def feed_quote(state: State, symbol: str, quote: Quote) -> None:
    rows = new_rows(1)
    rows["sym"], rows["kind"] = state.market.index[symbol], RowKind.QUOTE
    rows["price"], rows["price2"] = float(quote.bid), float(quote.ask)
    rows["size"], rows["size2"] = 1_000.0 * (quote.bid > 0), 1_000.0 * (quote.ask > 0)
    rows["recv_ns"] = state.now_ns - quote.age_ns
    rows["venue_ns"] = state.now_ns - quote.age_ns - quote.lag_ns
    assert state.market.consume(rows, 0, 1) == 1
    if quote.asked_ago_ns is not None:
        state.confirmed[symbol] = Confirmation(int(rows["venue_ns"][0]), state.now_ns - quote.asked_ago_ns)


def assets_of(s: Scenario) -> dict[str, Asset]:
    return {
        symbol: Asset(
            symbol=symbol,
            asset_class=AssetClass.CRYPTO if "/" in symbol else AssetClass.EQUITY,
            status=thing.status,
            tradable=thing.tradable,
            shortable=thing.shortable,
            fractionable=True,
            lot=Qty(nano(thing.lot)),
            min_order_qty=Qty(nano(thing.min_qty)),
            price_increment=None if thing.increment is None else Price(nano(thing.increment)),
            easy_to_borrow=thing.easy_to_borrow,
        )
        for symbol, thing in s.instruments.items()
    }


def account_of(s: Scenario) -> AccountReport | None:
    a = s.account
    if a is None:
        return None
    return AccountReport(
        ts_ns=Ns(s.now_ns - a.age_ns),
        asked_ns=Ns(s.now_ns - a.age_ns),
        account_number="PA000001",
        status=a.status,
        equity=Usd(nano(a.equity)),
        cash=Usd(nano(a.equity)),
        buying_power=Usd(nano(a.buying_power)),
        non_marginable_buying_power=Usd(nano(a.non_marginable)),
        shorting_enabled=a.shorting,
        trading_blocked=a.trading_blocked,
        account_blocked=a.account_blocked,
        suspended_by_user=a.suspended,
        crypto_status=a.crypto_status,
        multiplier=a.multiplier,
    )


def session_of(s: Scenario) -> SessionReport | None:
    found = s.session
    if found is None:
        return None
    return SessionReport(
        ts_ns=Ns(s.now_ns),
        is_open=found.is_open,
        next_open_ns=Ns(s.now_ns + 20 * 3600 * SECOND),
        next_close_ns=Ns(s.now_ns + found.closes_in_ns),
        open_ns=None if found.opened_ago_ns is None else Ns(s.now_ns - found.opened_ago_ns),
        ahead_max_ns=found.clock_ahead_max_ns,
    )


def state_of(s: Scenario) -> State:
    """Return the engine's state as the scenario describes it."""
    state = State(
        limits_of(s),
        Market(SYMBOLS),
        Venue.SIM,
        rolls_ns=[s.now_ns - ROLL_AGO_NS, s.now_ns + 86_400 * SECOND],
    )
    state.now_ns = Ns(s.now_ns)
    state.wall_offset_ns = s.wall_offset_ns
    state.account, state.session, state.assets = account_of(s), session_of(s), assets_of(s)
    state.links = {link: str(link) not in s.links_down for link in Link}
    state.reconciled = s.reconciled
    if s.offset_ns is not None:
        state.venue_offsets_ns = {Link.EQUITY_DATA: s.offset_ns, Link.CRYPTO_DATA: s.offset_ns}
    state.day = DayBook(
        started_ns=Ns(s.now_ns - ROLL_AGO_NS),
        equity=None if s.day.equity is None else Usd(nano(s.day.equity)),
        realised={who: nano(value) for who, value in s.day.realised.items()},
        unrealised_at_roll={who: nano(value) for who, value in s.day.unrealised_at_roll.items()},
        trades=dict(s.day.trades),
        notional={who: nano(value) for who, value in s.day.notional.items()},
        stopped=tuple(s.day.stopped),
    )
    for code, to in s.reasons.items():
        state.reasons[code] = Reason(
            code=code, state=TradingState(to), since_ns=state.now_ns, clears="operator"
        )
    for who in s.latched:
        state.agents[who] = AgentBook(faults=99, latched=True)
    for symbol, quote in s.quotes.items():
        feed_quote(state, symbol, quote)
    for symbol, thing in s.instruments.items():
        if thing.halted:
            state.halts[symbol] = Halt(symbol=symbol, since_ns=state.now_ns, venue_ns=state.now_ns, words="H")
    state.stopped_out = {symbol: Ns(s.now_ns - ago) for symbol, ago in s.stopped_out_ago_ns.items()}
    state.foreign = dict.fromkeys(s.foreign, "somebody else's")
    state.approvals.extend((s.now_ns - ago, who) for ago, who in sorted(s.entries, reverse=True))
    for number in s.judged_before:
        state.seen[intent_id(number)] = Seen(
            sha256="0" * 64, agent="default", name="x.json", at_ns=Ns(s.now_ns - 3600 * SECOND), settled=True
        )
    for idea in sorted(s.ideas, key=lambda each: -each.ago_ns):
        state.accepted.append(
            Accepted(
                at_ns=Ns(s.now_ns - idea.ago_ns),
                intent_id=intent_id(idea.number),
                symbol=idea.symbol,
                direction=Direction(idea.direction),
                prices=stored_prices(idea),
                void=idea.fate == "void",
            )
        )
        add_idea(state, s, idea)
    for trade in s.trades:
        add_trade(state, s, trade)
    state.suggested = (
        s.now_ns // SECOND,
        10**6,
    )  # no search for what would have passed: a test of its own asks
    state.changed.clear()
    return state


# --- the document ------------------------------------------------------------------------------------------------


def bytes_of(s: Scenario) -> bytes:
    doc = s.document
    stamp = s.now_ns + s.wall_offset_ns - doc.age_ns
    numbers = {
        "trigger_price": doc.trigger, "take_profit": doc.target, "stop_loss": doc.stop, "confidence": doc.confidence,
        "ttl_seconds": doc.ttl_s, "arm_seconds": doc.arm_s, "qty": doc.qty, "trailing_stop_pct": doc.trailing,
    }  # fmt: skip
    words = {
        "intent_id": intent_id(doc.number), "asset": doc.asset, "direction": doc.direction, "strategy_ref": "test",
        "timestamp": time_text(stamp), "entry": "touch" if doc.touch else "now",
    }  # fmt: skip
    parts = [f'"{name}": {json.dumps(word)}' for name, word in words.items()]
    parts += [f'"{name}": {value:f}' for name, value in numbers.items() if value is not None]
    return ("{" + ", ".join(parts) + "}").encode()


def play(s: Scenario, state: State) -> Outcome:
    """Let the engine judge the document (and fire its touch), and read what became of it."""
    now = Ns(s.now_ns)
    out = decide(
        state,
        DocumentReceived(
            ts_ns=now, agent=s.agent, name=f"{s.document.number}.json", data=bytes_of(s), file_event_ns=now
        ),
    )
    out = answer_questions(s, state, out)
    key = intent_id(s.document.number)
    ticket = state.ticket(key)
    if s.fires_at is not None and ticket is not None and ticket.state is TradeState.ARMED:
        out = fire(s, state, s.fires_at)
    return outcome(s, state, out)


def fire(s: Scenario, state: State, quote: Quote) -> list[AnyCommand]:
    """Let the market come to the trigger: the quote of then, and a trade at the trigger."""
    feed_quote(state, s.document.asset, quote)
    rows = new_rows(1)
    rows["sym"], rows["kind"], rows["flags"] = (
        state.market.index[s.document.asset],
        RowKind.TRADE,
        RowFlag.ELIGIBLE,
    )
    rows["price"], rows["size"] = float(s.document.trigger), 100.0
    rows["venue_ns"] = rows["recv_ns"] = state.now_ns
    out: list[AnyCommand] = []
    fired = [int(slot) for slot in state.market.fired[: state.market.fired_count]]
    state.market.consume(rows, 0, 1)
    fired += [int(slot) for slot in state.market.fired[: state.market.fired_count]]
    if fired:
        out = decide(state, TriggersFired(ts_ns=Ns(state.now_ns), slots=tuple(fired)))
    return answer_questions(s, state, out)


def answer_questions(s: Scenario, state: State, out: list[AnyCommand]) -> list[AnyCommand]:
    """Answer the question for the latest quote, which may be asked once."""
    if not any(isinstance(command, FetchQuote) for command in out):
        return out
    if s.fetched is not None:
        feed_quote(state, s.document.asset, s.fetched)
    fetched = QuoteFetched(ts_ns=Ns(state.now_ns), symbol=s.document.asset, ok=s.fetched is not None)
    out = decide(state, fetched)
    assert not any(isinstance(command, FetchQuote) for command in out)
    return out


def outcome(s: Scenario, state: State, out: list[AnyCommand]) -> Outcome:
    ticket = state.ticket(intent_id(s.document.number))
    if ticket is None or s.document.number in s.judged_before:
        (refused,) = (command for command in out if isinstance(command, RefuseDocument))
        return Outcome("REFUSED", str(refused.receipt["code"]), "REFUSED")
    words = str(ticket.verdict), str(ticket.code), str(ticket.state)
    entries = [command.entry for command in out if isinstance(command, SubmitEntry)]
    if not entries:
        return Outcome(*words)
    (entry,), plan = entries, ticket.plan
    assert plan is not None
    assert (entry.qty, entry.limit_price) == (plan.qty, plan.limit_price)
    if not plan.is_crypto:
        assert (entry.stop_loss, entry.take_profit) == (plan.stop_loss, plan.take_profit)
    numbers = entry.qty, entry.limit_price, plan.stop_loss, plan.take_profit
    return Outcome(*words, *(D(number) / NANO for number in numbers))
