"""Kill tests: each check is what stops something, and each limit is read by something.

For every check there is a scenario that it denies, and that is not denied for this reason once the check is taken
out. For every key of the limits file there is a scenario that comes out otherwise when only this key is loosened
as far as the file allows. A check or a key without a scenario fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hands.core.breakers import watch_losses
from hands.core.case import Case
from hands.core.commands import AnyCommand, CancelOrder
from hands.core.engine import decide
from hands.core.events import DocumentReceived
from hands.core.ideas import Accepted
from hands.core.limit_keys import LIMIT_KEYS, LimitKey
from hands.core.protection import supervise
from hands.core.risk import CHECKS, Check, judge
from hands.core.state import Halt, Seen
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, Usd, nano
from hands.core.vocab import Direction, OrderStatus, TradingState
from tests.core.world import (
    NOW,
    account,
    asset,
    case,
    checks_without,
    halt,
    intent,
    intent_id,
    live,
    quote,
    session,
    verdict,
    world,
)


def latched() -> Case:
    state = world()
    state.agent_book("default").latched = True
    return case(state)


def judged_before() -> Case:
    state = world()
    state.seen[intent_id(1)] = Seen(sha256="", agent="default", name="x", at_ns=NOW, settled=True)
    return case(state)


def not_reconciled() -> Case:
    state = world()
    state.reconciled = False
    return case(state)


def not_tradable() -> Case:
    state = world()
    state.assets["AAPL"] = asset("AAPL", tradable=False)
    return case(state)


def halted_symbol() -> Case:
    state = world()
    state.halts["AAPL"] = Halt(symbol="AAPL", since_ns=NOW, venue_ns=NOW, words="Trading Halt")
    return case(state)


def quoted(bid: str, ask: str, **changes: Any) -> Case:
    return case(world(quotes={"AAPL": (bid, ask)}), intent(**changes))


def stale() -> Case:
    state = world(account_age_max_ms="600000")
    state.now_ns = Ns(NOW + 6 * NS_PER_S)
    return case(state, received_ns=NOW)


def busy() -> Case:
    state = world()
    state.foreign["AAPL"] = "a holding that is not ours"
    return case(state)


def said_before(seconds_ago: int = 10, **hard: Any) -> Case:
    state = world(**hard)
    state.accepted.append(
        Accepted(
            at_ns=Ns(NOW - seconds_ago * NS_PER_S), intent_id=intent_id(7), symbol="AAPL", direction=Direction.LONG,
            prices=(15_000, 14_800, 15_500),
        )
    )  # fmt: skip
    return case(state)


def stopped_out(**hard: Any) -> Case:
    state = world(**hard)
    state.stopped_out["AAPL"] = NOW
    return case(state)


def traded(count: int, **hard: Any) -> Case:
    state = world(**hard)
    state.day.trades["default"] = count
    return case(state)


def living(**hard: Any) -> Case:
    """SPY, BTC and SOL are live, each with little."""
    state = world(**hard)
    live(state, 900, "SPY", qty="1")
    live(state, 901, "BTC/USD", qty="0.001", limit="100000", stop="97000", target="110000")
    live(state, 902, "SOL/USD", qty="1", limit="150", stop="145", target="165")
    return case(state)


def lost(usd: str, **hard: Any) -> Case:
    state = world(**hard)
    state.day.realised["default"] = -nano(usd)
    return case(state)


def hurried(count: int, **hard: Any) -> Case:
    state = world(**hard)
    state.approvals.extend([(NOW, "default")] * count)
    return case(state)


def penny() -> Case:
    """Return a bracket at half a dollar whose stop is nearer to its limit than the cent that the venue wants."""
    state = world(quotes={"AAPL": ("0.4999", "0.5000")}, max_spread="0.01", min_reward_risk="0")
    return case(state, intent(trigger_price="0.5", stop_loss="0.4950", take_profit="0.53"))


DENIED: dict[str, Callable[[], Case]] = {
    "agent_latched": latched,
    "duplicate": judged_before,
    "ttl": lambda: case(world(), intent(timestamp="2026-01-05T14:59:00Z")),
    "future_timestamp": lambda: case(world(), intent(timestamp="2026-01-05T15:00:10Z")),
    "ttl_length": lambda: case(world(), intent(ttl_seconds="60")),
    "halted": lambda: case(halt(world())),
    "ready": not_reconciled,
    "reduce_only": lambda: case(halt(world(), TradingState.REDUCE_ONLY)),
    "symbol_allowed": lambda: case(world(allow='["SPY"]')),
    "asset_tradable": not_tradable,
    "trading_halt": halted_symbol,
    "short_allowed": lambda: case(world(), intent(direction="SHORT")),
    "long_allowed": lambda: case(world(extra='[agents.default]\ndirections = ["SHORT"]')),
    "confidence": lambda: case(world(), intent(confidence="0.1")),
    # a stop above the trigger that still lies below limit and bid
    "geometry": lambda: quoted("150", "150.02", trigger_price="149.9", stop_loss="149.95"),
    "session": lambda: case(world(session=session(is_open=False))),
    "market_data": lambda: case(world(quotes={"AAPL": None})),
    "quote_age": stale,
    "spread": lambda: quoted("149", "150"),
    "collar": lambda: quoted("145", "145.02"),
    "slippage": lambda: quoted("150.50", "150.52"),
    "geometry_market": lambda: quoted("149.98", "150", take_profit="150.12"),
    "stop_far": lambda: case(world(), intent(stop_loss="100", take_profit="220")),
    "stop_close": lambda: case(world(min_stop_distance="0.02")),
    "reward_risk": lambda: case(world(), intent(take_profit="151")),
    "symbol_busy": busy,
    "semantic_duplicate": said_before,
    "cooldown": lambda: stopped_out(cooldown_after_stop_s="60"),
    "concurrent": living,
    "daily_trades": lambda: traded(5),
    "daily_loss": lambda: lost("3999"),
    "agent_budget": lambda: case(world(extra="[agents.default]\ndaily_notional_usd = 100")),
    "order_rate": lambda: hurried(60),
    "order_notional": lambda: case(world(max_order_notional_usd="100")),
    "gross_exposure": lambda: case(world(max_gross_exposure="0.001")),
    "buying_power": lambda: case(world(account=account(buying_power="100"))),
    "order_size": lambda: case(world(), intent(qty="0.5")),
    "venue_rule": penny,
}


def test_every_check_has_a_scenario() -> None:
    assert list(DENIED) == [check.name for check in CHECKS]


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_the_scenario_is_stopped_by_this_check_and_by_nothing_else(check: Check) -> None:
    denied = judge(DENIED[check.name]())
    assert denied.check is check, denied.denial
    assert denied.code is check.code
    without = judge(DENIED[check.name](), checks_without(check.name))
    assert without.code is not check.code


# --- every limit is read -----------------------------------------------------------------------------------


def code(asked: Case) -> str:
    return judge(asked).code


def qty(asked: Case) -> int:
    """Return the approved quantity, 0 for a denial."""
    plan = judge(asked).plan
    return 0 if plan is None else plan.qty


def old_account(**hard: Any) -> str:
    state = world(**hard)
    state.now_ns = Ns(NOW + 16 * NS_PER_S)
    quote(state, "AAPL", "149.98", "150")
    return verdict(state, intent(timestamp="2026-01-05T15:00:16Z")).code


def old_quote(**hard: Any) -> str:
    state = world(**hard)
    state.now_ns = Ns(NOW + 6 * NS_PER_S)
    return verdict(state).code


def fallen(**hard: Any) -> bool:
    """Whether a fall of 20 % from the peak halts."""
    state = world(max_daily_loss="1", **hard)
    watch_losses(state, [])
    state.performance.realised = Usd(nano("-20000"))
    watch_losses(state, [])
    return state.trading_state is TradingState.HALTED


def faulty(**hard: Any) -> bool:
    """Whether twenty unreadable documents latch their agent."""
    state = world(**hard)
    for number in range(20):
        decide(
            state,
            DocumentReceived(ts_ns=NOW, agent="default", name=f"{number}.json", data=b"{", file_event_ns=NOW),
        )
    return state.agents["default"].latched


def partly_filled(**hard: Any) -> list[str]:
    """Return what is cancelled half a second after a partial fill."""
    state = world(**hard)
    ticket = live(state, filled="4", status=OrderStatus.PARTIALLY_FILLED)
    state.now_ns = Ns(NOW + 500 * NS_PER_MS)
    out: list[AnyCommand] = []
    supervise(state, ticket, out)
    return [command.order_id for command in out if isinstance(command, CancelOrder)]


def through_its_stop(**hard: Any) -> object:
    """Return why a coin is being sold three seconds after its stop was reached and its stop order did not fill."""
    state = world(**hard)
    ticket = live(state, 900, "SOL/USD", qty="1", limit="150", stop="145", target="165", filled="1")
    ticket.through_stop_ns = NOW
    state.now_ns = Ns(NOW + 3 * NS_PER_S)
    out: list[AnyCommand] = []
    supervise(state, ticket, out)
    return ticket.exit_reason


@dataclass(frozen=True)
class Loosened:
    """A scenario by the limits it is played under; `tight` is what stands before one key is loosened."""

    play: Callable[..., object]
    tight: str | None = None


READ: dict[str, Loosened] = {
    "max_risk_per_trade": Loosened(lambda **hard: qty(case(world(**hard))), "0.001"),
    "max_position_size": Loosened(lambda **hard: qty(case(world(**hard)))),
    "max_slippage_pct": Loosened(
        lambda **hard: qty(
            case(world(quotes={"AAPL": ("150.40", "150.42")}, **hard), intent(take_profit="190"))
        )
    ),
    "ttl_seconds": Loosened(lambda **hard: code(case(world(**hard), intent(ttl_seconds="16")))),
    "max_daily_trades": Loosened(lambda **hard: code(traded(5, **hard))),
    "max_concurrent": Loosened(lambda **hard: code(living(**hard))),
    "max_daily_loss": Loosened(lambda **hard: code(lost("3999", **hard))),
    "max_drawdown": Loosened(fallen),
    "max_gross_exposure": Loosened(lambda **hard: qty(case(world(**hard))), "0.05"),
    "max_order_notional_usd": Loosened(lambda **hard: qty(case(world(**hard))), "5000"),
    "max_stop_distance": Loosened(
        lambda **hard: code(case(world(**hard), intent(stop_loss="118", take_profit="190")))
    ),
    "min_stop_distance": Loosened(lambda **hard: code(case(world(**hard))), "0.02"),
    "min_reward_risk": Loosened(lambda **hard: code(case(world(**hard), intent(take_profit="152")))),
    "min_confidence": Loosened(lambda **hard: code(case(world(**hard), intent(confidence="0.59")))),
    "price_collar": Loosened(
        lambda **hard: code(case(world(**hard), intent(trigger_price="154", take_profit="170")))
    ),
    "max_spread": Loosened(lambda **hard: code(case(world(quotes={"AAPL": ("149", "150")}, **hard)))),
    "quote_age_max_ms": Loosened(old_quote),
    "account_age_max_ms": Loosened(old_account),
    "clock_skew_max_ms": Loosened(
        lambda **hard: code(case(world(**hard), intent(timestamp="2026-01-05T15:00:03Z")))
    ),
    "orders_per_minute": Loosened(lambda **hard: code(hurried(60, **hard))),
    "semantic_duplicate_s": Loosened(lambda **hard: code(said_before(**hard))),
    "cooldown_after_stop_s": Loosened(lambda **hard: code(stopped_out(**hard)), "60"),
    "rejections_latch": Loosened(faulty),
    "partial_grace_ms": Loosened(partly_filled),
    "unprotected_max_ms": Loosened(through_its_stop),
    "max_arm_seconds": Loosened(
        lambda **hard: code(case(world(**hard), intent(entry="touch", arm_seconds="3601"), arming=True))
    ),
    "stop_limit_offset": Loosened(
        lambda **hard: qty(case(world(max_risk_per_trade="0.001", **hard), intent(asset="SOL/USD"))), "0.02"
    ),
    "capital_usd": Loosened(lambda **hard: qty(case(world(**hard))), "50000"),
}


def loosest(key: LimitKey) -> str:
    """Return the loosest value the file allows; 0 dollars of capital means all of them."""
    return key.high if key.tighter < 0 else key.low


def test_every_limit_has_a_scenario() -> None:
    assert list(READ) == [key.name for key in LIMIT_KEYS]


@pytest.mark.parametrize("key", LIMIT_KEYS, ids=[key.name for key in LIMIT_KEYS])
def test_trap_15_loosening_this_limit_alone_changes_what_happens(key: LimitKey) -> None:
    scenario = READ[key.name]
    before = scenario.play(**{} if scenario.tight is None else {key.name: scenario.tight})
    after = scenario.play(**{key.name: loosest(key)})
    assert before != after


def test_a_limit_that_is_loose_lets_the_scenario_through() -> None:
    """Where the outcome is a verdict, loosening cures it: no second limit stood behind in the scenario."""
    for key in LIMIT_KEYS:
        outcome = READ[key.name].play(**{key.name: loosest(key)})
        assert not isinstance(outcome, str) or outcome == "OK", (key.name, outcome)


# --- the session's rules and the lists ---------------------------------------------------------------------


def test_the_allow_list_and_the_short_switch_are_read() -> None:
    short = intent(direction="SHORT")
    assert code(case(world(allow='["SPY"]'))) != code(case(world()))
    assert code(case(world(), short)) != code(case(world(allow_short="true"), short))


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("no_entry_first_s", {"open_ns": NOW - 30 * NS_PER_S}),
        ("no_entry_last_s", {"next_close_ns": NOW + 30 * NS_PER_S}),
    ],
)
def test_the_sessions_rules_are_read(rule: str, facts: dict[str, int]) -> None:
    verdicts = [code(case(world(session=session(**facts), **{rule: seconds}))) for seconds in ("60", "0")]
    assert verdicts == ["SESSION_CLOSED", "OK"]


def test_flatten_before_the_close_is_read() -> None:
    reasons = []
    for seconds in ("0", "300"):
        state = world(flatten_before_close_s=seconds)
        ticket = live(state, filled="10")
        state.now_ns = Ns(NOW + 6 * 3600 * NS_PER_S - 200 * NS_PER_S)
        supervise(state, ticket, [])
        reasons.append(ticket.exit_reason)
    assert reasons == [None, "TIME"]
