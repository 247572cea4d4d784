"""The guardian as a whole: its order, that it changes nothing, and that no approved plan breaks a limit.

The properties recompute every limit in Decimal, from the contract's words and not from the code's formulas.
"""

from __future__ import annotations

import itertools
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from hands.core.case import Case
from hands.core.risk import CHECKS, EARLY, Check, Judgement, approve, judge
from hands.core.state import Seen, State
from hands.core.units import NANO, NS_PER_S, Ns, Qty, nano
from hands.core.vocab import Code, Leg, OrderClass, Retry, Side, TimeInForce, TradingState
from tests.core.world import (
    NOW,
    account,
    asset,
    case,
    checks_without,
    frozen_bytes,
    halt,
    intent,
    intent_id,
    live,
    quote,
    verdict,
    world,
)

CONTRACT = """
    AGENT_LATCHED DUPLICATE_INTENT EXPIRED FUTURE_TIMESTAMP TTL_TOO_LONG HALTED NOT_READY REDUCE_ONLY
    SYMBOL_NOT_ALLOWED ASSET_NOT_TRADABLE SHORT_NOT_ALLOWED LONG_NOT_ALLOWED CONFIDENCE_TOO_LOW BRACKET_GEOMETRY SESSION_CLOSED
    NO_MARKET_DATA STALE_MARKET_DATA SPREAD_TOO_WIDE PRICE_COLLAR SLIPPAGE BRACKET_GEOMETRY STOP_TOO_FAR
    STOP_TOO_CLOSE REWARD_RISK_TOO_LOW SYMBOL_BUSY SEMANTIC_DUPLICATE COOLDOWN CONCURRENT DAILY_TRADES DAILY_LOSS AGENT_BUDGET
    ORDER_RATE ORDER_NOTIONAL GROSS_EXPOSURE BUYING_POWER SIZE_TOO_SMALL VENUE_RULE
"""


# --- the order ---------------------------------------------------------------------------------------------


def test_the_order_of_checks_is_the_contracts_order_of_codes() -> None:
    """Two checks in a row may share a code (an asset that cannot be traded, and one that is halted now)."""
    assert [code for code, _ in itertools.groupby(check.code for check in CHECKS)] == CONTRACT.split()


def test_every_check_has_a_name_of_its_own_and_finds_under_it() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    judgement = verdict(world())
    assert [finding.check for finding in judgement.findings] == names


def wrong_in_many_ways(repaired: int) -> Judgement:
    """Judge an intent that is wrong for the first reason not among the first `repaired` ones below."""
    state = world(quotes={"AAPL": ("140", "160")}, max_concurrent="0", max_daily_trades="0")
    asked: dict[str, Any] = {"confidence": "0.1", "stop_loss": "151", "trigger_price": "150"}
    book = state.agent_book("default")
    book.latched = True
    state.reconciled = False
    halt(state)

    def unlatch() -> None:
        book.latched = False

    def resume() -> None:
        state.reasons.clear()
        halt(state, TradingState.REDUCE_ONLY)

    def reconcile() -> None:
        state.reconciled = True

    def allow() -> None:
        state.reasons.clear()

    def be_sure() -> None:
        asked["confidence"] = "0.9"

    def turn_round() -> None:
        asked["stop_loss"] = "140"

    def narrow() -> None:
        quote(state, "AAPL", "149.98", "150.00")

    for repair in (unlatch, resume, reconcile, allow, be_sure, turn_round, narrow)[:repaired]:
        repair()
    return verdict(state, intent(**asked))


@pytest.mark.parametrize(
    ("repaired", "code"),
    list(
        enumerate(
            [
                Code.AGENT_LATCHED, Code.HALTED, Code.NOT_READY, Code.REDUCE_ONLY, Code.CONFIDENCE_TOO_LOW,
                Code.BRACKET_GEOMETRY, Code.SPREAD_TOO_WIDE, Code.REWARD_RISK_TOO_LOW,
            ]
        )
    ),
)  # fmt: skip
def test_of_several_reasons_the_first_in_the_contracts_order_is_named(repaired: int, code: Code) -> None:
    assert wrong_in_many_ways(repaired).code is code


def test_the_findings_end_with_the_check_that_said_no() -> None:
    judgement = verdict(world(), intent(confidence="0.1"))
    names = [check.name for check in CHECKS]
    assert [finding.check for finding in judgement.findings] == names[: names.index("confidence") + 1]
    assert [finding.ok for finding in judgement.findings][-2:] == [True, False]
    assert judgement.plan is None
    assert judgement.sizing is not None  # a denial still tells what the size would have been


EARLY_NOS = ("agent_latched", "duplicate", "ttl")


def early_no(name: str) -> Case:
    """Return the case of an intent that one of the early checks turns away."""
    state = world()
    if name == "agent_latched":
        state.agent_book("default").latched = True
    if name == "duplicate":
        state.seen[intent_id(1)] = Seen(sha256="", agent="default", name="1.json", at_ns=NOW, settled=True)
    if name == "ttl":
        return case(state, received_ns=NOW - 15 * NS_PER_S)
    return case(state)


@pytest.mark.parametrize("name", EARLY_NOS)
def test_an_early_no_is_given_without_a_market_and_without_a_size(name: str) -> None:
    asked = early_no(name)
    judgement = judge(asked)
    assert judgement.findings[-1].check == name
    assert (judgement.sizing, asked.money) == (None, None)
    unpriced = Case(
        asked.state, asked.intent, asked.agent, asked.now_ns, asked.deadline_ns, arming=False, priced=False
    )
    assert unpriced.terms is None
    assert judge(unpriced, EARLY).findings == judgement.findings


def test_the_early_checks_are_the_first_ones() -> None:
    assert tuple(check.name for check in EARLY) == EARLY_NOS
    assert CHECKS[: len(EARLY)] == EARLY


def test_a_case_that_is_priced_later_is_the_same_case() -> None:
    now, later = case(world()), case(world())
    later = Case(later.state, later.intent, later.agent, NOW, later.deadline_ns, arming=False, priced=False)
    later.price()
    prices = ("quote", "quote_age_ns", "two_sided", "terms")
    assert [getattr(later, name) for name in prices] == [getattr(now, name) for name in prices]
    assert judge(later) == judge(now)


def test_faults_of_the_document_are_told_from_the_worlds() -> None:
    """The contract: never HALTED, NOT_READY, EXPIRED, session, data or counts."""
    not_faults = {check.code for check in CHECKS if not check.fault}
    assert not_faults >= {
        Code.HALTED, Code.NOT_READY, Code.REDUCE_ONLY, Code.EXPIRED, Code.SESSION_CLOSED, Code.NO_MARKET_DATA,
        Code.STALE_MARKET_DATA, Code.SPREAD_TOO_WIDE, Code.CONCURRENT, Code.DAILY_TRADES, Code.DAILY_LOSS, Code.ORDER_RATE,
        Code.GROSS_EXPOSURE, Code.BUYING_POWER, Code.AGENT_LATCHED, Code.SYMBOL_BUSY,
    }  # fmt: skip
    faults = {check.code for check in CHECKS if check.fault}
    assert faults >= {
        Code.DUPLICATE_INTENT, Code.FUTURE_TIMESTAMP, Code.TTL_TOO_LONG, Code.SYMBOL_NOT_ALLOWED, Code.CONFIDENCE_TOO_LOW,
        Code.BRACKET_GEOMETRY, Code.PRICE_COLLAR, Code.STOP_TOO_FAR, Code.STOP_TOO_CLOSE, Code.REWARD_RISK_TOO_LOW,
    }  # fmt: skip


# --- arming ------------------------------------------------------------------------------------------------


def test_a_touch_may_wait_while_only_the_present_forbids_it() -> None:
    """A busy symbol or a used-up budget forbids the entry, not the waiting; the price is judged when it is there."""
    state = world(max_concurrent="0", max_daily_trades="0", price_collar="0.1")
    live(state, 900, "AAPL", qty="1", limit="150", stop="148", target="155")
    asked = intent(entry="touch", trigger_price="145", stop_loss="143", take_profit="150")
    waiting = verdict(state, asked, arming=True)
    assert waiting.code is Code.OK
    assert waiting.plan is None
    assert verdict(state, asked).code is not Code.OK


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confidence": "0.1"}, Code.CONFIDENCE_TOO_LOW),
        ({"asset": "TSLA"}, Code.SYMBOL_NOT_ALLOWED),
        ({"stop_loss": "155"}, Code.BRACKET_GEOMETRY),
        ({"trigger_price": "250", "take_profit": "300", "stop_loss": "245"}, Code.PRICE_COLLAR),
        ({"stop_loss": "100"}, Code.STOP_TOO_FAR),
        ({"take_profit": "150.5"}, Code.REWARD_RISK_TOO_LOW),
        ({"trailing_stop_pct": "0.3"}, Code.STOP_TOO_FAR),
    ],
)
def test_what_would_never_pass_may_not_wait_either(changes: dict[str, str], code: Code) -> None:
    assert verdict(world(), intent(entry="touch", **changes), arming=True).code is code


# --- approval ----------------------------------------------------------------------------------------------


def test_the_contracts_example_is_approved_as_a_bracket() -> None:
    asked = case(world())
    entry = approve(asked, judge(asked))
    assert entry.client_order_id == f"hands-{intent_id(1)}-{Leg.ENTRY}-1"
    assert (entry.side, entry.qty, entry.limit_price) == (Side.BUY, nano("66"), nano("150.15"))
    assert (entry.order_class, entry.time_in_force) == (OrderClass.BRACKET, TimeInForce.GTC)
    assert (entry.take_profit, entry.stop_loss) == (nano("155"), nano("148"))
    assert entry.deadline_ns == NOW + 15 * NS_PER_S
    plan = judge(asked).plan
    assert plan is not None
    assert (plan.risk_usd, plan.notional_usd) == (nano("141.90"), nano("9909.90"))


def test_a_short_is_approved_as_its_mirror() -> None:
    asked = case(world(allow_short="true"), intent(direction="SHORT"))
    entry = approve(asked, judge(asked))
    assert (entry.side, entry.qty, entry.limit_price) == (Side.SELL, nano("66"), nano("149.85"))
    assert (entry.take_profit, entry.stop_loss) == (nano("145"), nano("152"))


def test_a_coin_is_approved_without_legs() -> None:
    asked = case(world(), intent(asset="SOL/USD"))
    entry = approve(asked, judge(asked))
    assert (entry.order_class, entry.take_profit, entry.stop_loss) == (OrderClass.SIMPLE, None, None)
    assert entry.qty == nano("66.6000666")


@pytest.mark.parametrize("name", ["confidence", "concurrent", "order_size"])
def test_trap_18_nothing_is_approved_unless_every_check_was_asked(name: str) -> None:
    asked = case(world())
    partial = judge(asked, checks_without(name))
    assert partial.plan is not None
    with pytest.raises(AssertionError):
        approve(asked, partial)


def test_trap_18_a_denial_is_never_approved() -> None:
    asked = case(world(), intent(confidence="0.1"))
    with pytest.raises(AssertionError):
        approve(asked, judge(asked))


def test_trap_18_nothing_is_approved_at_its_deadline() -> None:
    asked = case(world())
    judgement = judge(asked)
    late = case(world())
    late.now_ns = late.deadline_ns
    with pytest.raises(AssertionError):
        approve(late, judgement)


def test_trap_18_an_unknown_check_name_cannot_be_skipped() -> None:
    """The checks are a tuple of functions: there is no name to mistype and no switch to leave one out."""
    assert isinstance(CHECKS, tuple)
    assert all(callable(check.judge) for check in CHECKS)
    assert Check.__struct_config__.frozen


# --- a repeat, a replay ------------------------------------------------------------------------------------


def test_trap_32_a_document_shifted_in_time_never_lives_longer_than_it_asked_for() -> None:
    for stamp, lives_s in (("14:59:50", 5), ("15:00:00", 15), ("15:00:02", 15)):
        asked = intent(timestamp=f"2026-01-05T{stamp}Z")
        for second in range(17):
            state = world()
            state.now_ns = Ns(NOW + second * NS_PER_S)
            quote(state, "AAPL", "149.98", "150.00")
            code = verdict(state, asked, received_ns=NOW).code
            assert (code is Code.OK) is (second < lives_s), (stamp, second)


# --- properties --------------------------------------------------------------------------------------------

CENTS = {"places": 2}
LOT = {"AAPL": Decimal(1), "SOL/USD": Decimal("0.000001")}
FEE = {"AAPL": Decimal(0), "SOL/USD": Decimal("0.0025")}
TICK = {"AAPL": Decimal("0.01"), "SOL/USD": Decimal("0.001")}


def fraction(low: str, high: str) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=4)


@st.composite
def situations(draw: st.DrawFn, *, poor: bool = False) -> dict[str, Any]:
    """Draw an account, a market, limits, an intent and perhaps a live trade; half of them lead to a plan.

    `poor`: an account that has hardly anything left, so that most are denied for money.
    """
    least, most = ("50", "4000") if poor else ("10000", "300000")
    symbol = draw(st.sampled_from(["AAPL", "SOL/USD"]))
    direction = draw(st.sampled_from(["LONG", "SHORT"])) if symbol == "AAPL" else "LONG"
    sign = 1 if direction == "LONG" else -1
    mid = draw(st.decimals("20", "900", **CENTS))
    half = max(Decimal("0.01"), (mid * draw(fraction("0.0001", "0.0026"))).quantize(Decimal("0.01")))
    trigger = (mid * (1 + sign * draw(fraction("0", "0.0205")))).quantize(Decimal("0.01"))
    stop_distance = draw(fraction("0.03", "0.205"))
    stop = (trigger * (1 - sign * stop_distance)).quantize(Decimal("0.001"))
    reward = stop_distance * draw(st.decimals("1.0", "4", places=1))
    target = (trigger * (1 + sign * reward)).quantize(Decimal("0.001"))
    return {
        "symbol": symbol,
        "direction": direction,
        "bid": mid - half,
        "ask": mid + half,
        "trigger": trigger,
        "stop": stop,
        "target": target,
        "qty": draw(st.none() | st.decimals("0.5", "500", **CENTS)),
        "equity": draw(st.decimals(least, most, **CENTS)),
        "day_equity": draw(st.decimals(least, most, **CENTS)),
        "power": draw(st.decimals("0" if poor else "4000", most, **CENTS)),
        "lost": draw(st.just(Decimal(0)) | st.decimals("0", "3000", **CENTS)),
        "spy": draw(st.none() | st.integers(1, 6)),
        "limits": {
            "max_risk_per_trade": draw(fraction("0.0005", "0.05")),
            "max_position_size": draw(fraction("0.005", "0.5")),
            "max_slippage_pct": draw(fraction("0.001", "0.01")),
            "max_daily_loss": draw(fraction("0.01", "0.3")),
            "max_gross_exposure": draw(fraction("0.3", "2")),
            "max_order_notional_usd": draw(st.decimals("100", "60000", **CENTS)),
            "stop_limit_offset": draw(fraction("0.0005", "0.02")),
            "capital_usd": draw(st.sampled_from([Decimal(0), Decimal(20_000)])),
        },
    }


def staged(situation: dict[str, Any]) -> Case:
    """Return the drawn situation as a case."""
    symbol = situation["symbol"]
    state = world(
        quotes={symbol: (str(situation["bid"]), str(situation["ask"]))},
        account=account(
            equity=str(situation["equity"]),
            buying_power=str(situation["power"]),
            non_marginable_buying_power=str(situation["power"]),
        ),
        day_equity=str(situation["day_equity"]),
        allow_short="true",
        **{name: f"{value:f}" for name, value in situation["limits"].items()},
    )
    state.assets[symbol] = asset(symbol, lot=Qty(nano(f"{LOT[symbol]:f}")))
    state.day.realised["default"] = -nano(str(situation["lost"]))
    if situation["spy"] is not None:
        live(state, 900, "SPY", qty=str(situation["spy"]))
    changes = {} if situation["qty"] is None else {"qty": str(situation["qty"])}
    return case(
        state,
        intent(
            1, symbol, situation["direction"], trigger_price=f"{situation['trigger']:f}",
            stop_loss=f"{situation['stop']:f}", take_profit=f"{situation['target']:f}", **changes,
        ),
    )  # fmt: skip


class Oracle:
    """The contract's section 3 in Decimal."""

    def __init__(self, situation: dict[str, Any]) -> None:
        symbol, hard = situation["symbol"], situation["limits"]
        self.situation, self.long = situation, situation["direction"] == "LONG"
        tick, fee, slip = TICK[symbol], FEE[symbol], hard["max_slippage_pct"]

        def to(price: Decimal, rounding: str) -> Decimal:
            return (price / tick).to_integral_value(rounding) * tick

        near, away = (ROUND_CEILING, ROUND_FLOOR) if self.long else (ROUND_FLOOR, ROUND_CEILING)
        if self.long:
            self.limit = to(min(situation["trigger"], situation["ask"]) * (1 + slip), away)
        else:
            self.limit = to(max(situation["trigger"], situation["bid"]) * (1 - slip), away)
        self.stop, self.target = to(situation["stop"], near), to(situation["target"], away)
        self.worst = (
            self.stop if symbol == "AAPL" else to(self.stop * (1 - hard["stop_limit_offset"]), ROUND_FLOOR)
        )
        self.risk = abs(self.limit - self.worst) + fee * (self.limit + self.worst)
        self.reward = abs(self.target - self.limit) - fee * (self.limit + self.target)
        equity = min(situation["equity"], situation["day_equity"])
        equity = min(equity, hard["capital_usd"]) if hard["capital_usd"] else equity
        spy = situation["spy"] or 0
        cost = self.limit if self.long else max(self.limit, situation["ask"] * Decimal("1.03"))
        room = {
            "risk": (equity * hard["max_risk_per_trade"], self.risk),
            "position": (equity * hard["max_position_size"], self.limit),
            "order": (hard["max_order_notional_usd"], self.limit),
            "exposure": (equity * hard["max_gross_exposure"] - 600 * spy, self.limit),
            "loss": (
                situation["day_equity"] * hard["max_daily_loss"] - situation["lost"] - 8 * spy,
                self.risk,
            ),
            "power": (situation["power"] - 600 * spy, cost),
        }
        if situation["qty"] is not None:
            room["qty"] = (situation["qty"], Decimal(1))
        self.room = room

    def fits(self, qty: Decimal) -> bool:
        """Whether a quantity is within every cap."""
        return all(qty * each <= left for left, each in self.room.values())


@given(situations())
def test_an_approved_plan_breaks_no_limit_and_is_as_large_as_allowed(situation: dict[str, Any]) -> None:
    asked = staged(situation)
    judgement = judge(asked)
    event(str(judgement.code))
    if judgement.plan is None:
        return
    plan, oracle = judgement.plan, Oracle(situation)
    qty, lot = Decimal(plan.qty) / NANO, LOT[situation["symbol"]]
    assert [Decimal(p) / NANO for p in (plan.limit_price, plan.stop_loss, plan.take_profit, plan.worst_exit)] == [
        oracle.limit, oracle.stop, oracle.target, oracle.worst,
    ]  # fmt: skip
    assert Decimal(plan.unit_risk) / NANO == oracle.risk
    assert qty > 0
    assert qty % lot == 0
    assert oracle.fits(qty)
    assert not oracle.fits(qty + lot)
    distance = abs(oracle.limit - oracle.stop) / oracle.limit
    nano_ratio = Decimal("1e-9")
    mid = (situation["bid"] + situation["ask"]) / 2
    assert Decimal("0.001") <= distance < Decimal("0.20") + nano_ratio
    assert oracle.reward >= oracle.risk
    assert (situation["ask"] - situation["bid"]) / mid < Decimal("0.005") + nano_ratio
    assert abs(situation["trigger"] - mid) / mid < Decimal("0.02") + nano_ratio
    if oracle.long:
        assert oracle.stop < min(oracle.limit, situation["bid"])
        assert oracle.target > max(oracle.limit, situation["ask"])
        assert situation["ask"] <= oracle.limit
    else:
        assert oracle.stop > max(oracle.limit, situation["ask"])
        assert oracle.target < min(oracle.limit, situation["bid"])
        assert situation["bid"] >= oracle.limit
    if situation["symbol"] == "SOL/USD":
        net = (qty * Decimal("0.9975") / lot).to_integral_value(ROUND_FLOOR) * lot
        assert net * oracle.worst >= 11
    assert approve(asked, judgement).qty == plan.qty


MONEY = {
    Code.DAILY_LOSS: "loss",
    Code.ORDER_NOTIONAL: "order",
    Code.GROSS_EXPOSURE: "exposure",
    Code.BUYING_POWER: "power",
}


@given(situations(poor=True))
def test_a_denial_for_money_is_one_because_the_smallest_order_does_not_fit(situation: dict[str, Any]) -> None:
    judgement = judge(staged(situation))
    assume(judgement.code in {*MONEY, Code.SIZE_TOO_SMALL})
    oracle = Oracle(situation)
    least = LOT["AAPL"]
    if situation["symbol"] == "SOL/USD":
        least = Decimal(11) / oracle.worst / Decimal("0.9975") + 3 * LOT["SOL/USD"]
    assert not oracle.fits(least)
    if judgement.code in MONEY:
        left, each = oracle.room[MONEY[judgement.code]]
        assert least * each > left


@given(situations())
def test_judging_changes_nothing(situation: dict[str, Any]) -> None:
    asked = staged(situation)
    before = frozen_bytes(asked.state)
    first = judge(asked)
    assert frozen_bytes(asked.state) == before
    again = judge(case(asked.state, asked.intent))
    assert again == first


def test_the_frozen_bytes_do_tell() -> None:
    """The witness of the property above: what it compares shows every kind of change."""

    def shown(change: Any) -> bool:
        state = world()
        before = frozen_bytes(state)
        change(state)
        return frozen_bytes(state) != before

    def book(state: State) -> None:
        state.agent_book("x")

    def traded(state: State) -> None:
        state.day.trades["default"] = 1

    def timer(state: State) -> None:
        state.wake_at(1, "roll", "")

    def quoted(state: State) -> None:
        quote(state, "AAPL", "1", "2")

    def marked(state: State) -> None:
        state.changed["day", ""] = state.day

    for change in (book, traded, timer, quoted, marked, halt, live):
        assert shown(change), change


def test_a_denial_says_how_to_try_again() -> None:
    judgement = verdict(world(), intent(confidence="0.1"))
    assert judgement.denial is not None
    assert judgement.denial.retry is Retry.CHANGED
