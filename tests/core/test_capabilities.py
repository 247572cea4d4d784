"""Agents: what each may do beside how much, read strictly, asked on every document, counted through restarts."""

from __future__ import annotations

from typing import Any

import pytest

from hands.core.breakers import roll_day
from hands.core.capabilities import UNBOUNDED, Capabilities, loosened
from hands.core.case import Denial
from hands.core.commands import RefuseDocument, SubmitEntry
from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS, LimitKey
from hands.core.limits import LimitsError, read_limits
from hands.core.risk import judge
from hands.core.sizing import agent_left_usd
from hands.core.units import NANO, NS_PER_S, Ns, nano
from hands.core.vocab import Code, Direction
from hands.runtime.envelope import envelope
from hands.runtime.what_if import what_if
from tests.core.desk import Desk
from tests.core.test_kill import READ, loosest
from tests.core.world import (
    DAY,
    NOW,
    ROLL,
    case,
    document,
    encoded,
    intent,
    limits,
    limits_text,
    verdict,
    world,
)

A = "[agents.a]\n"
PER_AGENT = [key for key in LIMIT_KEYS if key.tighter and key.name not in ACCOUNT_WIDE]


# --- reading -----------------------------------------------------------------------------------------------


def test_an_agent_of_which_nothing_is_said_may_what_the_account_may() -> None:
    assert limits(extra=A).may("a") == limits().may("default") == limits().may("stranger") == UNBOUNDED


def test_every_capability_is_read() -> None:
    text = A + (
        'symbols = ["AAPL", "SOL/USD"]\ndirections = ["SHORT"]\ndaily_notional_usd = 1500.25\n'
        'expires = "2026-02-01T00:00:00+01:00"'
    )
    assert limits(extra=text).may("a") == Capabilities(
        symbols=("AAPL", "SOL/USD"),
        directions=(Direction.SHORT,),
        daily_notional_usd=1500 * NANO + NANO // 4,
        expires="2026-02-01T00:00:00+01:00",
        expires_ns=Ns(1_769_900_400 * NS_PER_S),
    )


def test_a_toml_date_time_is_a_time_too() -> None:
    written = limits(extra=A + "expires = 2026-02-01T00:00:00.5Z").may("a")
    assert written.expires_ns == 1_769_904_000 * NS_PER_S + NS_PER_S // 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('symbols = "AAPL"', "must be a list"),
        ('symbols = ["TSLA"]', "TSLA is not there"),
        ("symbols = [1]", "must be a list"),
        ('symbols = ["AAPL", "AAPL"]', "twice"),
        ("directions = []", "must be"),
        ('directions = ["UP"]', "must be"),
        ('directions = ["long"]', "must be"),
        ('directions = "LONG"', "must be"),
        ("daily_notional_usd = true", "must be a number"),
        ('daily_notional_usd = "5"', "must be a number"),
        ("daily_notional_usd = -1", "must be in"),
        ("daily_notional_usd = nan", "must be"),
        ("daily_notional_usd = inf", "must be"),
        ("daily_notional_usd = 1e13", "must be in"),
        ("daily_notional_usd = 1e400", "must be"),
        ("expires = 2026-02-01T00:00:00", "RFC 3339"),
        ("expires = 2026-02-01", "must be a time"),
        ("expires = 5", "must be a time"),
        ('expires = "tomorrow"', "RFC 3339"),
        ("until = 5", "not a known key"),
        ("max_drawdown = 0.05", "one value for the whole account"),
        ("capital_usd = 5", "one value for the whole account"),
        ("stop_limit_offset = 0.05", "one value for the whole account"),
    ],
)
def test_what_cannot_be_meant_is_refused(line: str, said: str) -> None:
    with pytest.raises(LimitsError) as caught:
        read_limits(limits_text(extra=A + line))
    (problem,) = caught.value.problems
    assert problem.startswith("agents.a.")
    assert said in problem


# --- asked on every document -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "asked", "code"),
    [
        ('symbols = ["SPY"]', {}, Code.SYMBOL_NOT_ALLOWED),
        ("symbols = []", {}, Code.SYMBOL_NOT_ALLOWED),
        ('symbols = ["AAPL"]', {}, Code.OK),
        ('directions = ["LONG"]', {"direction": "SHORT"}, Code.SHORT_NOT_ALLOWED),
        ('directions = ["LONG"]', {}, Code.OK),
        ('directions = ["SHORT"]', {}, Code.LONG_NOT_ALLOWED),
        ('directions = ["SHORT"]', {"direction": "SHORT"}, Code.OK),
        ("daily_notional_usd = 100", {}, Code.AGENT_BUDGET),
        ("daily_notional_usd = 0", {}, Code.AGENT_BUDGET),
        ("daily_notional_usd = 151", {}, Code.OK),
    ],
)
def test_each_capability_denies_its_agent_and_nobody_else(table: str, asked: Any, code: Code) -> None:
    state = world(extra=A + table, allow_short="true")
    judgement = judge(case(state, intent(**asked), agent="a"))
    assert judgement.code is code
    if judgement.denial is not None and code is not Code.AGENT_BUDGET:
        assert "agent a" in judgement.denial.message
    assert judge(case(state, intent(**asked), agent="b")).code is Code.OK


def test_an_agent_cannot_be_given_what_the_account_may_not() -> None:
    state = world(extra=A + 'directions = ["SHORT", "LONG"]')
    assert judge(case(state, intent(direction="SHORT"), agent="a")).code is Code.SHORT_NOT_ALLOWED


def test_the_daily_notional_is_a_cap_of_the_size() -> None:
    judgement = judge(case(world(extra=A + "daily_notional_usd = 1000"), agent="a"))
    assert judgement.sizing is not None
    assert judgement.sizing.binding == "daily_notional_usd"
    assert judgement.plan is not None
    assert judgement.plan.qty == 6 * NANO  # of 66, at a limit of 150.15
    assert judge(case(world(extra=A + "daily_notional_usd = 1000"), agent="b")).plan.qty == 66 * NANO  # type: ignore[union-attr]


def test_where_several_caps_leave_nothing_the_first_check_in_the_contracts_order_answers() -> None:
    state = world(extra=A + "daily_notional_usd = 10", max_order_notional_usd="10", max_gross_exposure="0")
    assert judge(case(state, agent="a")).code is Code.AGENT_BUDGET


def test_the_denial_says_what_was_used_what_is_allowed_and_when_it_begins_anew() -> None:
    state = world(extra=A + "daily_notional_usd = 1000")
    state.day.notional["a"] = 900 * NANO
    denial = judge(case(state, agent="a")).denial
    assert isinstance(denial, Denial)
    assert (denial.finding.observed, denial.finding.limit) == (900 * NANO, 1000 * NANO)
    assert denial.message == (
        "900.00 USD of agent a's 1000.00 a day are approved; the smallest order costs 150.15"
    )
    assert denial.retry_at_ns == ROLL + DAY


# --- counted -----------------------------------------------------------------------------------------------

BUDGET = "[agents.default]\ndaily_notional_usd = 50000"
SPENT = nano("9909.9")


def test_the_notional_is_taken_at_approval_given_back_if_nothing_filled_and_survives_a_restart() -> None:
    desk = Desk(world(extra=BUDGET))
    desk.venue.quotes["SPY"] = nano("610"), nano("611")  # it has run away by the time the order is there
    desk.drop(1)
    desk.drop(2, asset="SPY")
    assert desk.receipt(1)["order"]["notional_usd"] == "9909.90"
    spy = nano(desk.receipt(2)["order"]["notional_usd"])
    assert desk.state.day.notional == {"default": SPENT + spy}
    desk.crash()
    desk.restart()
    assert desk.state.day.notional == {"default": SPENT + spy}
    desk.run(30)
    assert desk.receipt(1)["state"] == "OPEN"
    assert desk.receipt(2)["state"] == "EXPIRED"
    assert agent_left_usd(desk.state, "default") == 50_000 * NANO - SPENT


def test_what_was_approved_is_less_to_approve() -> None:
    desk = Desk(world(extra=BUDGET.replace("50000", "10000")))
    desk.drop(1)
    desk.drop(2, asset="SPY")
    assert desk.receipt(2)["code"] == "AGENT_BUDGET"


def test_the_roll_gives_everything_back() -> None:
    state = world(extra=BUDGET)
    state.day.notional["default"] = SPENT
    state.now_ns = Ns(ROLL + DAY)
    roll_day(state, [])
    assert agent_left_usd(state, "default") == 50_000 * NANO


# --- until when --------------------------------------------------------------------------------------------


UNTIL = '[agents.a]\nexpires = "2026-01-05T15:00:05Z"'


def test_after_its_day_an_agents_documents_are_refused_with_the_date() -> None:
    desk = Desk(world(extra=UNTIL))
    desk.drop(1, agent="a")
    assert desk.receipt(1)["code"] == "OK"
    desk.run(5)
    desk.drop(2, agent="a", asset="SPY", timestamp="2026-01-05T15:00:05Z")
    refused = desk.sent(RefuseDocument)[-1].receipt
    assert (refused["verdict"], refused["code"]) == ("REFUSED", "UNAUTHORISED")
    assert "2026-01-05T15:00:05Z" in refused["message"]
    desk.drop(3, asset="SPY", timestamp="2026-01-05T15:00:05Z")
    assert desk.receipt(3)["code"] == "OK", "others are not meant"
    assert not desk.state.agents["a"].faults, "an expired agent is no faulty one"


def test_a_touch_waits_no_longer_than_its_agent_may_trade() -> None:
    desk = Desk(world(extra=UNTIL))
    desk.drop(1, agent="a", entry="touch", arm_seconds="60", trigger_price="149", stop_loss="147")
    assert desk.receipt(1)["state"] == "ARMED"
    desk.run(6)
    assert desk.receipt(1)["state"] == "EXPIRED"


def test_a_touch_that_fires_after_its_agents_time_was_cut_short_enters_nothing() -> None:
    desk = Desk(world(extra="[agents.a]\n"))
    desk.drop(1, agent="a", entry="touch", arm_seconds="60", trigger_price="149", stop_loss="147")
    desk.state.limits = limits(extra=UNTIL)  # as a tightened file is taken up while running
    desk.run(6)
    assert desk.receipt(1)["state"] == "ARMED"
    desk.quote("AAPL", "148.98", "149.00")
    desk.print("AAPL", "149.00")
    assert desk.receipt(1)["state"] == "EXPIRED"
    assert "2026-01-05T15:00:05Z" in desk.receipt(1)["message"]
    assert desk.sent(SubmitEntry) == []


def test_a_touch_whose_agent_was_taken_out_of_the_file_enters_nothing() -> None:
    """It waits through restarts: without its table the account's limits would hold for it, looser than ever."""
    desk = Desk(world(extra="[agents.a]\nmax_order_notional_usd = 500\n"))
    desk.drop(1, agent="a", entry="touch", arm_seconds="60", trigger_price="149", stop_loss="147")
    desk.state.limits = limits()  # as the next start reads the file
    desk.quote("AAPL", "148.98", "149.00")
    desk.print("AAPL", "149.00")
    assert desk.receipt(1)["state"] == "EXPIRED"
    assert "no agent 'a'" in desk.receipt(1)["message"]
    assert desk.sent(SubmitEntry) == []
    assert what_if(desk.state, encoded(document(2)), "a", NOW)["code"] == "UNKNOWN_AGENT"


def test_asking_first_says_the_same() -> None:
    state = world(extra=UNTIL)
    asked = encoded(document())
    assert what_if(state, asked, "a", NOW)["code"] == "OK"
    assert what_if(state, asked, "a", NOW + 5 * NS_PER_S)["code"] == "UNAUTHORISED"
    assert verdict(state).code is Code.OK


# --- tighter and looser ------------------------------------------------------------------------------------

NARROW = Capabilities(
    symbols=("AAPL",), directions=(Direction.LONG,), daily_notional_usd=100, expires_ns=Ns(10)
)


@pytest.mark.parametrize(
    ("changes", "wider"),
    [
        ({}, []),
        ({"symbols": ()}, []),
        ({"symbols": ("AAPL", "SPY")}, ["symbols"]),
        ({"symbols": ("SPY",)}, ["symbols"]),
        ({"symbols": None}, ["symbols"]),
        ({"directions": (Direction.LONG, Direction.SHORT)}, ["directions"]),
        ({"directions": (Direction.SHORT,)}, ["directions"]),
        ({"daily_notional_usd": 99}, []),
        ({"daily_notional_usd": 101}, ["daily_notional_usd"]),
        ({"daily_notional_usd": None, "expires_ns": None}, ["daily_notional_usd", "expires"]),
        ({"expires_ns": Ns(9)}, []),
        ({"expires_ns": Ns(11)}, ["expires"]),
    ],
)
def test_what_is_looser_is_named(changes: dict[str, Any], wider: list[str]) -> None:
    after = {name: getattr(NARROW, name) for name in NARROW.__struct_fields__} | changes
    assert loosened(NARROW, Capabilities(**after)) == wider
    assert loosened(UNBOUNDED, Capabilities(**after)) == []


# --- every hard limit is an agent's too --------------------------------------------------------------------


@pytest.mark.parametrize("key", PER_AGENT, ids=[key.name for key in PER_AGENT])
def test_every_hard_limit_holds_for_one_agent_as_it_does_for_the_account(key: LimitKey) -> None:
    """With the account's as loose as can be, the agent's own decides alone."""
    scenario = READ[key.name]
    tight = key.shipped if scenario.tight is None else scenario.tight
    loose = scenario.play(**{key.name: loosest(key)})
    own = scenario.play(**{key.name: loosest(key)}, extra=f"[agents.default]\n{key.name} = {tight}")
    assert own == scenario.play(**{key.name: tight})
    assert own != loose


def test_the_envelope_of_an_expired_agent_is_shut() -> None:
    state = world(extra=UNTIL)

    def blocks(agent: str, now_ns: int) -> list[str]:
        found = envelope(state, "AAPL", agent, now_ns)["directions"]["LONG"]["blocks"]
        return [block["code"] for block in found]

    assert blocks("a", NOW) == []
    assert "UNAUTHORISED" in blocks("a", NOW + 5 * NS_PER_S)
    assert "UNAUTHORISED" not in blocks("default", NOW + 5 * NS_PER_S)
