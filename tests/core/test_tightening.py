"""A changed limits file: what only tightens is taken up at once, what loosens anything is not taken up at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hands.core.capabilities import Capabilities
from hands.core.commands import Alert, AnyCommand, Record
from hands.core.engine import decide
from hands.core.events import LimitsRead, OperatorAction
from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS, LimitKey
from hands.core.limits import AgentLimits, LimitsFile, SessionRules, read_limits
from hands.core.receipts import receipt
from hands.core.state import State, encode
from hands.core.tightening import compare, narrowed
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, Usd, nano
from hands.core.vocab import OrderStatus, TradingState
from tests.core.desk import Desk
from tests.core.world import NOW, SHIPPED, case, intent, limits, limits_text, live, quote, verdict, world

KEYS = [pytest.param(key, id=key.name) for key in LIMIT_KEYS]
SESSIONS = [pytest.param(key, id=key.name) for key in SESSION_KEYS]


def read(state: State, text: str, **facts: Any) -> list[AnyCommand]:
    """Let the engine hear of a limits file; return its commands."""
    return decide(state, LimitsRead(ts_ns=state.now_ns, text=text, **facts))


def alerts(out: list[AnyCommand]) -> list[str]:
    return [command.code for command in out if isinstance(command, Alert)]


def looser(before: LimitsFile, after: LimitsFile) -> list[str]:
    return [change.where for change in compare(before, after) if change.looser]


def around(key: LimitKey) -> tuple[str, str, str]:
    """Return three values of a key in its range: the lowest, one between, the highest."""
    low, high = Decimal(key.low), Decimal(key.high)
    middle = Decimal(key.shipped) if low < Decimal(key.shipped) < high else (low + high) / 2
    return f"{low:f}", f"{middle:f}", f"{high:f}"


# --- the comparison ----------------------------------------------------------------------------------------


def test_the_same_file_has_no_changes_and_neither_has_another_remark() -> None:
    assert compare(limits(), read_limits(SHIPPED + "\n# a remark")) == []


@pytest.mark.parametrize("key", [*KEYS, *SESSIONS])
def test_each_key_has_one_direction(key: LimitKey) -> None:
    """Lower and higher are told apart for every key; what has no direction is looser both ways."""
    low, middle, high = around(key)
    where = f"{'session' if key in SESSION_KEYS else 'hard_limits'}.{key.name}"
    fixed = {"max_daily_loss": "1"} if key.name != "max_daily_loss" else {}
    before = limits(**fixed, **{key.name: middle})
    for value, way in ((low, -1), (high, +1)):
        if Decimal(value) == Decimal(middle):
            continue
        [change] = compare(before, limits(**fixed, **{key.name: value}))
        assert change.where == where
        assert change.looser is (way != key.tighter)
        assert (Decimal(change.before), Decimal(change.after)) == (Decimal(middle), Decimal(value))


def test_a_change_without_a_direction_takes_a_restart() -> None:
    assert looser(limits(capital_usd="50000"), limits(capital_usd="20000")) == ["hard_limits.capital_usd"]
    assert looser(limits(), limits(roll='"18:00 America/New_York"')) == ["day.roll"]


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ('["AAPL", "SPY"]', '["AAPL"]', []),
        ('["AAPL", "SPY"]', '["SPY", "AAPL"]', []),
        ('["AAPL", "SPY"]', "[]", []),
        ('["AAPL"]', '["AAPL", "SPY"]', ['symbols.allow "SPY"']),
        ('["AAPL"]', '["SPY"]', ['symbols.allow "SPY"']),
        ("[]", '["BTC/USD"]', ['symbols.allow "BTC/USD"']),
    ],
)
def test_a_symbol_may_go_and_may_not_come(before: str, after: str, wider: list[str]) -> None:
    assert looser(limits(allow=before), limits(allow=after)) == wider


def test_shorts_may_be_forbidden_and_not_allowed() -> None:
    assert looser(limits(), limits(allow_short="true")) == ["symbols.allow_short"]
    assert looser(limits(allow_short="true"), limits()) == []
    assert len(compare(limits(allow_short="true"), limits())) == 1


SPY = '[symbols."SPY"]\nmax_spread = {}\n'


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ("", SPY.format("0.001"), []),
        (SPY.format("0.001"), SPY.format("0.0005"), []),
        (SPY.format("0.0005"), SPY.format("0.001"), ['symbols."SPY".max_spread']),
        (SPY.format("0.001"), "", ['symbols."SPY".max_spread']),
    ],
)
def test_a_symbols_own_limits_are_held_against_what_held_there(
    before: str, after: str, wider: list[str]
) -> None:
    assert looser(limits(extra=before), limits(extra=after)) == wider


def test_a_symbols_own_limit_that_the_accounts_has_overtaken_may_go() -> None:
    assert looser(limits(extra=SPY.format("0.001")), limits(max_spread="0.0008")) == []


def test_a_symbol_that_goes_takes_its_table_with_it() -> None:
    assert looser(limits(extra=SPY.format("0.001")), limits(allow='["AAPL"]')) == []


A = "[agents.a]\n{}\n"


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ("max_daily_trades = 3", "max_daily_trades = 2", []),
        ("max_daily_trades = 2", "max_daily_trades = 3", ["agents.a.max_daily_trades"]),
        ("max_daily_trades = 2", "", ["agents.a.max_daily_trades"]),
        ("", "max_daily_trades = 2", []),
        ("", 'user = "root"', ["agents.a.user"]),
        ('user = "root"', "", ["agents.a.user"]),
        ("", 'symbols = ["SPY"]', []),
        ('symbols = ["SPY"]', 'symbols = ["SPY", "AAPL"]', ["agents.a.symbols"]),
        ('symbols = ["SPY"]', 'symbols = ["AAPL"]', ["agents.a.symbols"]),
        ('symbols = ["SPY", "AAPL"]', 'symbols = ["AAPL"]', []),
        ('symbols = ["SPY"]', "", ["agents.a.symbols"]),
        ('directions = ["LONG"]', 'directions = ["LONG", "SHORT"]', ["agents.a.directions"]),
        ('directions = ["LONG", "SHORT"]', 'directions = ["LONG"]', []),
        ("daily_notional_usd = 1000", "daily_notional_usd = 2000", ["agents.a.daily_notional_usd"]),
        ("daily_notional_usd = 1000", "daily_notional_usd = 500", []),
        ("daily_notional_usd = 1000", "", ["agents.a.daily_notional_usd"]),
        ('expires = "2027-01-01T00:00:00Z"', 'expires = "2026-06-01T00:00:00Z"', []),
        ('expires = "2026-06-01T00:00:00Z"', 'expires = "2027-01-01T00:00:00Z"', ["agents.a.expires"]),
    ],
)
def test_an_agents_table_may_only_get_tighter(before: str, after: str, wider: list[str]) -> None:
    changes = compare(limits(extra=A.format(before)), limits(extra=A.format(after)))
    assert changes
    assert [change.where for change in changes if change.looser] == wider


def test_an_agent_that_comes_or_goes_takes_a_restart() -> None:
    """Its folder is opened at start; and without its table its documents would be held to the account's limits."""
    assert looser(limits(), limits(extra=A.format(""))) == ["agents.a"]
    assert looser(limits(extra=A.format("max_daily_trades = 1")), limits()) == ["agents.a"]


def test_the_accounts_change_is_not_repeated_for_every_agent_and_symbol() -> None:
    extra = A.format("") + SPY.format("0.001")
    changes = compare(limits(extra=extra), limits(extra=extra, max_daily_trades="2"))
    assert [change.where for change in changes] == ["hard_limits.max_daily_trades"]


@pytest.mark.parametrize("kind", [LimitsFile, AgentLimits, SessionRules, Capabilities])
def test_no_field_of_the_limits_escapes_the_comparison(kind: type[msgspec.Struct]) -> None:
    """Every field, changed alone, shows; but for those that say nothing more than another one does."""
    file = limits(extra=A.format('user = "root"') + SPY.format("0.001"))
    of_agent, own = file.agents["a"], file.agents["a"].limits
    tighter_symbols = {"SPY": {"max_spread": 1}}
    others: dict[type, dict[str, Any]] = {
        LimitsFile: {
            "hard": msgspec.structs.replace(file.hard, max_spread=1),
            "allow": ("AAPL", "SPY"),
            "allow_short": True,
            "symbols": tighter_symbols,
            "session": msgspec.structs.replace(file.session, no_entry_first_s=1),
            "roll_time": "18:00",
            "roll_zone": "UTC",
            "agents": {},
        },
        AgentLimits: {
            "limits": msgspec.structs.replace(own, max_spread=1),
            "user": None,
            "may": Capabilities(symbols=()),
        },
        SessionRules: dict.fromkeys(SessionRules.__struct_fields__, 7 * NS_PER_S),
        Capabilities: {
            "symbols": ("SPY",),
            "directions": of_agent.may.directions[:1],
            "daily_notional_usd": Usd(1),
            "expires": "2027-01-01T00:00:00Z",
        },
    }
    assert set(others[kind]) == set(kind.__struct_fields__) - {"sha256", "expires_ns"}
    for name, value in others[kind].items():
        holder: Any = {
            LimitsFile: file,
            AgentLimits: of_agent,
            SessionRules: file.session,
            Capabilities: of_agent.may,
        }[kind]
        changed = msgspec.structs.replace(holder, **{name: value})
        if kind is SessionRules:
            changed = msgspec.structs.replace(file, session=changed)
        elif kind is Capabilities:
            changed = msgspec.structs.replace(
                file, agents={"a": msgspec.structs.replace(of_agent, may=changed)}
            )
        elif kind is AgentLimits:
            changed = msgspec.structs.replace(file, agents={"a": changed})
        assert compare(file, changed), name


def test_the_command_line_narrows_and_never_widens() -> None:
    assert narrowed(limits(), ("SPY", "AAPL")).allow == ("SPY", "AAPL")
    assert narrowed(limits(allow='["AAPL"]'), ("SPY", "AAPL")).allow == ("AAPL",)
    assert narrowed(limits(), None) == limits()


# --- taken up ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [p for p in KEYS if p.values[0].tighter])
def test_every_limit_can_be_tightened_while_running(key: LimitKey) -> None:
    low, middle, high = around(key)
    state = world(**{key.name: middle})
    tight = low if key.tighter < 0 else high
    out = read(state, limits_text(**{key.name: tight}))
    assert "LIMITS_TIGHTENED" in alerts(out)
    assert state.limits.hard == limits(**{key.name: tight}).hard
    back = read(state, limits_text(**{key.name: middle}))
    if Decimal(tight) != Decimal(middle):
        assert alerts(back)[0] == "LIMITS_REFUSED"
        assert state.limits.hard == limits(**{key.name: tight}).hard


def test_receipts_carry_the_new_files_hash_from_then_on() -> None:
    desk = Desk()
    desk.drop(1)
    text = limits_text(min_confidence="0.9")
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=text))
    desk.drop(2, "SPY")
    assert desk.receipt(1)["limits_sha256"] == limits().sha256
    assert desk.receipt(2)["limits_sha256"] == read_limits(text).sha256
    assert desk.receipt(2)["code"] == "CONFIDENCE_TOO_LOW"


def test_a_touch_that_was_armed_before_is_judged_by_the_new_limits_when_it_fires() -> None:
    desk = Desk()
    desk.drop(1, entry="touch", trigger_price="151", stop_loss="149", take_profit="156", arm_seconds="60")
    assert desk.receipt()["state"] == "ARMED"
    text = limits_text(min_confidence="0.9")
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=text))
    desk.quote("AAPL", "150.98", "151.00")
    desk.print("AAPL", "151.00")
    found = desk.receipt()
    assert (found["state"], found["code"]) == ("REJECTED", "CONFIDENCE_TOO_LOW")
    assert found["limits_sha256"] == read_limits(text).sha256


def test_a_document_that_waits_for_its_quote_is_judged_by_the_new_limits() -> None:
    desk = Desk()
    desk.run(6)
    desk.poll()
    desk.drop(1)
    assert desk.state.waiting
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=limits_text(min_confidence="0.9")))
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(1)
    assert desk.receipt()["code"] == "CONFIDENCE_TOO_LOW"


def test_a_lower_daily_loss_may_be_reached_already() -> None:
    state = world()
    state.day.realised["default"] = -nano("1500")
    read(state, limits_text(max_daily_loss="0.02"))
    assert state.trading_state is TradingState.ACTIVE
    read(state, limits_text(max_daily_loss="0.015"))
    assert state.trading_state is TradingState.REDUCE_ONLY
    assert "DAILY_LOSS" in state.reasons


def test_a_lower_drawdown_may_be_reached_already() -> None:
    state = world()
    read(state, limits_text(max_daily_loss="0.03"))
    state.performance.realised = Usd(-nano("2000"))
    read(state, limits_text(max_daily_loss="0.03", max_drawdown="0.02"))
    assert state.trading_state is TradingState.HALTED


def test_fewer_faults_may_latch_an_agent_already() -> None:
    state = world()
    state.agent_book("default").faults = 5
    read(state, limits_text(rejections_latch="5"))
    assert state.agents["default"].latched
    assert verdict(state).code == "AGENT_LATCHED"


def test_a_shorter_partial_grace_holds_for_what_is_filling_now() -> None:
    desk = Desk(partial_grace_ms="10000")
    ticket = live(desk.state, filled="4", status=OrderStatus.PARTIALLY_FILLED)
    desk.state.touch(ticket)
    desk.run(0.5)
    assert ticket.entry is not None
    assert ticket.entry.cancel_ns is None
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=limits_text(partial_grace_ms="100")))
    assert ticket.entry.cancel_ns is not None


def test_what_is_held_on_a_symbol_that_goes_stays_as_tight_as_it_was() -> None:
    extra = '[symbols."SPY"]\nunprotected_max_ms = 500\n'
    state = world(extra=extra)
    read(state, limits_text(allow='["AAPL"]'))
    assert state.limits.allow == ("AAPL",)
    assert state.limits.effective("default", "SPY").unprotected_max_ms == 500 * NS_PER_MS


def test_the_command_lines_narrowing_holds_for_a_changed_file_too() -> None:
    state = world(rules=narrowed(limits(), ("AAPL",)))
    read(state, limits_text(max_daily_trades="2"), symbols=("AAPL",))
    assert state.limits.allow == ("AAPL",)
    assert state.limits.hard.max_daily_trades == 2


def test_another_remark_is_another_file_and_no_other_limits() -> None:
    state = world()
    out = read(state, SHIPPED + "\n# a remark\n")
    assert alerts(out) == ["LIMITS_TIGHTENED"]
    assert state.limits.sha256 == read_limits(SHIPPED + "\n# a remark\n").sha256


# --- refused -----------------------------------------------------------------------------------------------


def test_a_file_that_loosens_one_key_is_not_taken_up_at_all() -> None:
    """Not even the part of it that tightens."""
    state = world()
    out = read(state, limits_text(max_daily_loss="0.05", max_daily_trades="1", allow_short="true"))
    assert state.limits == limits()
    assert state.limits_refused is not None
    named = " ".join(state.limits_refused.problems)
    assert "hard_limits.max_daily_loss: 0.04 -> 0.05" in named
    assert "symbols.allow_short" in named
    assert "max_daily_trades" not in named
    assert all("restart" in problem for problem in state.limits_refused.problems)
    [alert] = [command for command in out if isinstance(command, Alert)]
    assert "0.04 -> 0.05" in alert.message
    [row] = [command.row for command in out if isinstance(command, Record)]
    assert (row["reason"], row["event"]) == ("LIMITS", "refused")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[hard_limits", "not readable"), ("", "missing"), (limits_text(max_spread="2.0"), "a fraction")],
)
def test_a_file_that_cannot_be_used_leaves_the_old_limits(text: str, problem: str) -> None:
    state = world()
    read(state, text)
    assert state.limits == limits()
    assert state.limits_refused is not None
    assert problem in " ".join(state.limits_refused.problems)


def test_a_file_that_cannot_be_read_leaves_the_old_limits() -> None:
    state = world()
    out = read(state, "", problem="risk_limits.toml: not UTF-8")
    assert state.limits == limits()
    assert alerts(out) == ["LIMITS_REFUSED"]


def test_the_same_content_is_told_once_and_its_end_too() -> None:
    state = world()
    wide = limits_text(max_daily_trades="6")
    assert alerts(read(state, wide)) == ["LIMITS_REFUSED"]
    assert alerts(read(state, wide)) == []
    assert alerts(read(state, "", problem="gone")) == ["LIMITS_REFUSED"]
    assert alerts(read(state, "", problem="gone")) == []
    assert alerts(read(state, limits_text())) == ["LIMITS_REFUSED"]
    assert state.limits_refused is None
    assert alerts(read(state, limits_text())) == []


def test_a_file_that_only_tightens_ends_the_refusal() -> None:
    state = world()
    read(state, limits_text(max_daily_trades="6"))
    read(state, limits_text(max_daily_trades="4"))
    assert state.limits_refused is None
    assert state.limits.hard.max_daily_trades == 4


# --- the start ---------------------------------------------------------------------------------------------


def started(last: State | None, now: str) -> tuple[State, list[AnyCommand]]:
    """Start a session on the limits `now`, after the session `last`; return it and what it said."""
    state = world(rules=read_limits(now))
    if last is not None:
        kept = [(kind, key, encode(doc)) for (kind, key), doc in last.changed.items() if doc is not None]
        state.restore([(kind, key, doc) for kind, key, doc in kept if kind == "limits"])
    return state, read(state, now, at_start=True)


def test_a_start_that_loosens_is_seen() -> None:
    first, said = started(None, SHIPPED)
    assert alerts(said) == []
    second, said = started(first, limits_text(max_daily_loss="0.1", max_daily_trades="2"))
    [alert] = [command for command in said if isinstance(command, Alert)]
    assert alert.code == "LIMITS_LOOSENED"
    assert "hard_limits.max_daily_loss: 0.04 -> 0.1" in alert.message
    assert "max_daily_trades" not in alert.message
    assert second.limits.hard.max_daily_loss == nano("0.1"), "after a restart the file is law"
    third, said = started(second, limits_text(max_daily_loss="0.1", max_daily_trades="2"))
    assert alerts(said) == []
    assert third.limits_loosened == ()


def test_a_start_is_held_against_what_was_tightened_while_running() -> None:
    first, _ = started(None, SHIPPED)
    read(first, limits_text(max_daily_trades="2"))
    _, said = started(first, SHIPPED)
    assert alerts(said) == ["LIMITS_LOOSENED"]


def test_limits_of_another_version_cannot_be_compared_and_that_is_said() -> None:
    first, _ = started(None, SHIPPED)
    assert first.limits_note is not None
    first.limits_note = msgspec.structs.replace(first.limits_note, text="[hard_limits]\n")
    first.changed["limits", ""] = first.limits_note
    _, said = started(first, SHIPPED)
    assert [c.message for c in said if isinstance(c, Alert)] == [
        "the last session's limits were of another version; what this start loosens is not known"
    ]


def test_limits_that_were_tightened_and_the_halt_they_caused_survive_a_crash() -> None:
    """The daemon reads the file at its next start; what the tighter limits latched is still latched."""
    desk = Desk()
    desk.state.performance.realised = Usd(-nano("2000"))
    desk.state.performance.capital, desk.state.performance.peak = Usd(nano("100000")), Usd(nano("100000"))
    desk.feed(LimitsRead(ts_ns=Ns(desk.now_ns), text=limits_text(max_drawdown="0.02")))
    assert desk.state.trading_state is TradingState.HALTED
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.restart()
    assert desk.state.trading_state is TradingState.HALTED
    assert desk.state.limits_note is not None
    assert desk.state.limits_note.text == limits_text(max_drawdown="0.02")
    desk.operator(OperatorAction.RESUME)


def test_the_same_events_lead_to_the_same_limits_and_receipts() -> None:
    """The raw text is the event: replaying it needs no file."""
    texts = [limits_text(max_daily_trades="4"), limits_text(max_daily_trades="9"), "nonsense"]
    receipts = []
    for _ in range(2):
        state = world()
        ticket = live(state)
        for text in texts:
            read(state, text)
        quote(state, "AAPL", "149.98", "150")
        receipts.append((receipt(state, ticket), state.limits, state.limits_refused, verdict(state).code))
    assert receipts[0] == receipts[1]
    assert case(state, intent(), agent="default").limits.max_daily_trades == 4
    assert state.now_ns == NOW
