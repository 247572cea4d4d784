"""The guardian's checks on counts and money: each passes, passes at its boundary, and fails beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hands.core import budgets
from hands.core.case import Case, Denial
from hands.core.checks import Result
from hands.core.state import State
from hands.core.units import NANO, NS_PER_S, nano
from hands.core.vocab import OrderStatus, Retry, TradeState
from tests.core.world import DAY, NOW, ROLL, account, case, intent, intent_id, live, world

Row = tuple[Callable[[Case], Result], Callable[[], Case], bool]

SYMBOLS = ["SPY", "BTC/USD", "SOL/USD"]
TRADES: dict[str, dict[str, Any]] = {
    "SPY": {"qty": "10"},
    "BTC/USD": {"qty": "0.01", "limit": "100000", "stop": "97000", "target": "110000"},
    "SOL/USD": {"qty": "10", "limit": "150", "stop": "145", "target": "165"},
}


def trading(count: int, *, agent: str = "default", status: OrderStatus | None = None, **facts: Any) -> State:
    """Return a world with `count` live trades on other symbols."""
    state = world(**facts)
    for number, symbol in enumerate(SYMBOLS[:count], start=900):
        live(state, number, symbol, agent=agent, status=status, **TRADES[symbol])
    return state


def armed(count: int) -> State:
    state = trading(count)
    for ticket in state.tickets.values():
        ticket.state = TradeState.ARMED
    return state


def traded(**by_agent: int) -> State:
    state = world(extra="[agents.a]\nmax_daily_trades = 2")
    state.day.trades.update(by_agent)
    return state


def lost(usd: str, by: str = "default", **facts: Any) -> State:
    state = world(**facts)
    state.day.realised[by] = nano(usd)
    return state


def approved(count: int, ns_ago: int = 0, agent: str = "default", **facts: Any) -> State:
    state = world(**facts)
    state.approvals.extend([(NOW - ns_ago, agent)] * count)
    return state


def by_others(symbol: str) -> State:
    """A world where AAPL may be entered once a day, and another agent has traded something."""
    state = world(
        extra=f'[symbols."{symbol}"]\nmax_daily_trades = 1\nmax_concurrent = 1\norders_per_minute = 1'
    )
    state.day.trades["b"] = 1
    state.approvals.append((NOW, "b"))
    live(state, 900, "SPY", agent="b")
    return state


OWN = "[agents.a]\nmax_concurrent = 1\norders_per_minute = 2"

TABLE: dict[str, Row] = {
    "nothing lives": (budgets.concurrent, lambda: case(trading(0)), True),
    "one less than allowed lives": (budgets.concurrent, lambda: case(trading(2)), True),
    "as many as allowed live": (budgets.concurrent, lambda: case(trading(3)), False),
    "unknown orders live": (budgets.concurrent, lambda: case(trading(3, status=OrderStatus.UNKNOWN)), False),
    "unsent orders live": (budgets.concurrent, lambda: case(trading(3, status=OrderStatus.UNSENT)), False),
    "other agents' trades count": (budgets.concurrent, lambda: case(trading(3, agent="other")), False),
    "armed touches take no budget": (budgets.concurrent, lambda: case(armed(3)), True),
    "a symbol's count is held against everybody's": (budgets.concurrent, lambda: case(by_others("AAPL")), False),
    "a symbol's trades are held against everybody's": (
        budgets.daily_trades, lambda: case(by_others("AAPL")), False,
    ),
    "a symbol's rate is held against everybody's": (budgets.order_rate, lambda: case(by_others("AAPL")), False),
    "another symbol's count is its own business": (budgets.concurrent, lambda: case(by_others("SOL/USD")), True),
    "another symbol's trades are its own business": (
        budgets.daily_trades, lambda: case(by_others("SOL/USD")), True,
    ),
    "none allowed": (budgets.concurrent, lambda: case(trading(0, max_concurrent="0")), False),
    "an agent's own count, free": (budgets.concurrent, lambda: case(trading(2, extra=OWN), agent="a"), True),
    "an agent's own count, full": (
        budgets.concurrent, lambda: case(trading(1, agent="a", extra=OWN), agent="a"), False,
    ),
    "no trade today": (budgets.daily_trades, lambda: case(traded()), True),
    "one trade left": (budgets.daily_trades, lambda: case(traded(default=4)), True),
    "no trade left": (budgets.daily_trades, lambda: case(traded(default=5)), False),
    "others took them": (budgets.daily_trades, lambda: case(traded(default=1, b=4)), False),
    "an agent's last trade": (budgets.daily_trades, lambda: case(traded(a=1, b=3), agent="a"), True),
    "an agent's trades are gone": (budgets.daily_trades, lambda: case(traded(a=2), agent="a"), False),
    "none allowed today": (budgets.daily_trades, lambda: case(world(max_daily_trades="0")), False),
    "one entry left this minute": (budgets.order_rate, lambda: case(approved(59)), True),
    "no entry left this minute": (budgets.order_rate, lambda: case(approved(60)), False),
    "a minute ago": (budgets.order_rate, lambda: case(approved(60, 60 * NS_PER_S)), True),
    "a nanosecond less than a minute ago": (budgets.order_rate, lambda: case(approved(60, 60 * NS_PER_S - 1)), False),
    "an agent's last entry": (budgets.order_rate, lambda: case(approved(1, 0, "a", extra=OWN), agent="a"), True),
    "an agent's entries are gone": (
        budgets.order_rate, lambda: case(approved(2, 0, "a", extra=OWN), agent="a"), False,
    ),
    # unit risk 2.15 of 4000 a day
    "loss leaves exactly one share": (budgets.daily_loss, lambda: case(lost("-3997.85")), True),
    "loss leaves a nano less": (budgets.daily_loss, lambda: case(lost("-3997.850000001")), False),
    "profit leaves all": (budgets.daily_loss, lambda: case(lost("5000")), True),
    "nothing may be lost": (budgets.daily_loss, lambda: case(world(max_daily_loss="0")), False),
    "others' loss counts": (budgets.daily_loss, lambda: case(lost("-3997.850000001", "b")), False),
    "an agent's own loss": (
        budgets.daily_loss,
        lambda: case(lost("-98.85", "a", extra="[agents.a]\nmax_daily_loss = 0.001"), agent="a"), False,
    ),
    "an agent's own loss, another's budget": (
        budgets.daily_loss,
        lambda: case(lost("-98.85", "a", extra="[agents.a]\nmax_daily_loss = 0.001"), agent="b"), True,
    ),
    "a share of the order's dollars": (
        budgets.order_notional, lambda: case(world(max_order_notional_usd="150.15")), True,
    ),
    "a nano under a share": (
        budgets.order_notional, lambda: case(world(max_order_notional_usd="150.149999999")), False,
    ),
    "a coin's smallest order": (
        budgets.order_notional, lambda: case(world(max_order_notional_usd="11.6"), intent(asset="SOL/USD")), True,
    ),
    "below a coin's smallest order": (
        budgets.order_notional, lambda: case(world(max_order_notional_usd="11.5"), intent(asset="SOL/USD")), False,
    ),
    # E 100 000 x 0.0615015 = 6150.15 of which SPY has 6000
    "exposure leaves exactly one share": (
        budgets.gross_exposure, lambda: case(trading(1, max_gross_exposure="0.0615015")), True,
    ),
    "exposure leaves a nano less": (
        budgets.gross_exposure, lambda: case(trading(1, max_gross_exposure="0.061501499")), False,
    ),
    "exposure in flight": (
        budgets.gross_exposure,
        lambda: case(trading(1, status=OrderStatus.UNSENT, max_gross_exposure="0.06")), False,
    ),
    "power for exactly one share": (
        budgets.buying_power, lambda: case(world(account=account(buying_power="150.15"))), True,
    ),
    "power for a nano less": (
        budgets.buying_power, lambda: case(world(account=account(buying_power="150.149999999"))), False,
    ),
    "power already in flight": (
        budgets.buying_power, lambda: case(trading(1, account=account(buying_power="6000"))), False,
    ),
    "no power": (budgets.buying_power, lambda: case(world(account=account(buying_power="-1"))), False),
    "one share of risk": (budgets.order_size, lambda: case(world(max_risk_per_trade="0.0000215")), True),
    "a nano less of risk": (budgets.order_size, lambda: case(world(max_risk_per_trade="0.000021499")), False),
    "one share of position": (budgets.order_size, lambda: case(world(max_position_size="0.0015015")), True),
    "a nano less of position": (budgets.order_size, lambda: case(world(max_position_size="0.001501499")), False),
    "one share asked for": (budgets.order_size, lambda: case(world(), intent(qty="1")), True),
    "less than a share asked for": (budgets.order_size, lambda: case(world(), intent(qty="0.999999999")), False),
    "a coin's smallest asked for": (budgets.order_size, lambda: case(world(), intent(asset="SOL/USD", qty="0.08")), True),
    "dust asked for": (budgets.order_size, lambda: case(world(), intent(asset="SOL/USD", qty="0.076")), False),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_budget_says_what_it_should(name: str) -> None:
    check, build, passes = TABLE[name]
    result = check(build())
    finding = result.finding if isinstance(result, Denial) else result
    assert finding.ok is passes is not isinstance(result, Denial), finding


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row[2]])
def test_trap_33_a_budgets_no_carries_numbers(name: str) -> None:
    check, build, _ = TABLE[name]
    result = check(build())
    assert isinstance(result, Denial)
    assert result.finding.observed is not None
    assert result.finding.limit is not None
    assert any(character.isdigit() for character in result.message)


@pytest.mark.parametrize(
    ("name", "retry", "at_ns"),
    [
        ("no trade left", Retry.AFTER, ROLL + DAY),
        ("loss leaves a nano less", Retry.AFTER, ROLL + DAY),
        ("as many as allowed live", Retry.AFTER, None),
        ("no entry left this minute", Retry.AFTER, NOW + 60 * NS_PER_S),
        ("exposure leaves a nano less", Retry.AFTER, None),
        ("power for a nano less", Retry.AFTER, None),
        ("a nano under a share", Retry.CHANGED, None),
        ("less than a share asked for", Retry.CHANGED, None),
    ],
)
def test_trap_33_a_budgets_no_says_when(name: str, retry: Retry, at_ns: int | None) -> None:
    check, build, _ = TABLE[name]
    result = check(build())
    assert isinstance(result, Denial)
    assert (result.retry, result.retry_at_ns) == (retry, at_ns)


def test_trap_20_the_rate_refuses_and_keeps_nothing_for_later() -> None:
    """Sixty-one at once: the sixty-first is denied now, and its place is not kept when the minute is over."""
    state = approved(60)
    assert isinstance(budgets.order_rate(case(state)), Denial)
    assert state.next_wake_ns is None
    assert len(state.approvals) == 60
    assert not state.waiting


@pytest.mark.parametrize(
    "check",
    [
        budgets.daily_loss,
        budgets.order_notional,
        budgets.gross_exposure,
        budgets.buying_power,
        budgets.order_size,
    ],
)
def test_trap_17_money_without_a_price_is_denied(check: Callable[[Case], Result]) -> None:
    assert isinstance(check(case(world(quotes={"AAPL": None}))), Denial)


def test_trap_17_without_an_account_there_is_no_buying_power() -> None:
    denial = budgets.buying_power(case(world(account=None)))
    assert isinstance(denial, Denial)
    assert denial.message == "0.00 USD of buying power; the smallest order costs 150.15"
    assert denial.finding.age_ns is None


def test_the_binding_cap_answers_under_its_own_name() -> None:
    """Where risk binds, the other caps' checks pass: one reason, the one that would have to change."""
    asked = case(world(max_risk_per_trade="0"))
    for check in (budgets.daily_loss, budgets.order_notional, budgets.gross_exposure, budgets.buying_power):
        assert not isinstance(check(asked), Denial)
    result = budgets.order_size(asked)
    assert isinstance(result, Denial)
    assert result.message == "max_risk_per_trade leaves 0; the smallest order is 1"


def test_trap_32_a_hundred_intents_at_once_stay_within_the_counts() -> None:
    """Approved one after the other in the same nanosecond, each sees the ones before it."""
    state = world()
    passed = 0
    for number in range(100):
        symbol = SYMBOLS[number % 3]
        asked = case(state, intent(number, symbol))
        if not any(isinstance(check(asked), Denial) for check in (budgets.concurrent, budgets.daily_trades)):
            live(state, number, symbol, **TRADES[symbol])
            state.day.trades["default"] = state.day.trades.get("default", 0) + 1
            passed += 1
    assert passed == 3
    assert sorted(state.tickets) == [intent_id(number) for number in range(3)]


def test_counts_in_findings_are_counts_and_money_is_nano() -> None:
    concurrent = budgets.concurrent(case(trading(2)))
    loss = budgets.daily_loss(case(lost("-100")))
    assert not isinstance(concurrent, Denial)
    assert not isinstance(loss, Denial)
    assert (concurrent.observed, concurrent.limit) == (2, 3)
    assert (loss.observed, loss.limit) == (100 * NANO, 4000 * NANO)


def test_the_days_loss_and_the_open_risk_are_told_together() -> None:
    state = trading(1)
    state.day.realised["default"] = nano("-100")
    loss = budgets.daily_loss(case(state))
    assert not isinstance(loss, Denial)
    assert loss.observed == 180 * NANO


def test_buying_power_is_told_with_the_age_of_the_account() -> None:
    state = world(account=account(asked_ns=NOW - NS_PER_S))
    power = budgets.buying_power(case(state))
    assert not isinstance(power, Denial)
    assert power.age_ns == NS_PER_S
