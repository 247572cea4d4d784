"""The mutants: every check, branch, key and breaker taken out, one at a time, and the test that must notice.

Owns how each thing is switched off (in this process, for this process) and by which tests that is seen. May not touch
the product's files: a mutant changes what has been imported. The one idea: whoever adds a check or a key adds its row,
because `test_mapping` counts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from hands.core import limits as limits_module
from hands.core import tightening
from hands.core.capabilities import CAPABILITY_KEYS, UNBOUNDED
from hands.core.case import Case, Denial
from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS, SESSION_KEYS, LimitKey
from hands.core.limits import LimitsFile
from hands.core.risk import CHECKS, Check
from hands.core.state import State
from hands.core.ticket import Finding
from tests.core.test_latches import BREAKERS
from tests.kill.branches import BRANCHES
from tests.kill.changes import RULES
from tests.kill.moves import MOVES

KILL = "tests/core/test_kill.py::"
BRANCH = "tests/kill/test_branches.py::"
LIMITS = "tests/core/test_limits.py::"
AGENTS = "tests/core/test_capabilities.py::"
RELOAD = "tests/core/test_tightening.py::"
LATCHES = "tests/core/test_latches.py::"
FILE = "tests/runtime/test_limits_file.py::"


class Mutant(NamedTuple):
    """One thing taken out: `apply` does it, and one of `killed_by` must then fail."""

    apply: Callable[[], None]
    killed_by: tuple[str, ...]


# --- checks ------------------------------------------------------------------------------------------------


def _silence(check: Check, words: str = "") -> Callable[[], None]:
    """Let a check pass where it would say no in `words`, without taking it out of the order."""

    def apply() -> None:
        asked = check.judge

        def deaf(case: Case) -> Finding | Denial:
            found = asked(case)
            if isinstance(found, Denial) and re.search(words, found.message):
                return Finding(check.name, True)
            return found

        msgspec.structs.force_setattr(check, "judge", deaf)

    return apply


_CHECK = {check.name: check for check in CHECKS}


def _checks() -> dict[str, Mutant]:
    test = KILL + "test_the_scenario_is_stopped_by_this_check_and_by_nothing_else"
    return {f"check {name}": Mutant(_silence(check), (f"{test}[{name}]",)) for name, check in _CHECK.items()}


def _branches() -> dict[str, Mutant]:
    test = BRANCH + "test_this_branch_says_no"
    return {
        f"branch {name}": Mutant(_silence(_CHECK[branch.check], branch.words), (f"{test}[{name}]",))
        for name, branch in BRANCHES.items()
    }


# --- keys of the limits file -------------------------------------------------------------------------------


def _replacing(holder: Any, name: str, around: Callable[[Any, Any], Any]) -> Callable[[], None]:
    """Put `around(result, arguments)` in place of what a function returns."""

    def apply() -> None:
        asked = getattr(holder, name)
        setattr(holder, name, lambda *args, **facts: around(asked(*args, **facts), args))

    return apply


def _never_binding(key: LimitKey) -> int:
    """Return the value at which a key stops nothing, as it is stored."""
    text = {-1: key.high, 1: key.low, 0: key.low}[key.tighter]
    return int(float(text) * key.unit.scale)


def _ignored(key: LimitKey) -> Callable[[], None]:
    """Read a hard limit as never binding, whatever stands in the file."""

    def around(found: Any, _args: Any) -> Any:
        return found and msgspec.structs.replace(found, **{key.name: _never_binding(key)})

    return _replacing(limits_module, "_hard_limits", around)


def _not_overridden(key: LimitKey, where: str) -> Callable[[], None]:
    """Leave out a key of single agents' or single symbols' tables."""

    def around(found: dict[str, int], args: Any) -> dict[str, int]:
        mine = str(args[2]).startswith(where)
        return {name: value for name, value in found.items() if not (mine and name == key.name)}

    return _replacing(limits_module, "_overrides", around)


def _hard_keys() -> dict[str, Mutant]:
    test = KILL + "test_trap_15_loosening_this_limit_alone_changes_what_happens"
    return {f"key {key.name}": Mutant(_ignored(key), (f"{test}[{key.name}]",)) for key in LIMIT_KEYS}


def _scoped_keys() -> dict[str, Mutant]:
    """The same keys in an agent's and in a symbol's own table."""
    found = {}
    for key in LIMIT_KEYS:
        if not key.tighter or key.name in ACCOUNT_WIDE:
            continue
        name = key.name
        agents = f"{AGENTS}test_every_hard_limit_holds_for_one_agent_as_it_does_for_the_account[{name}]"
        found[f"key agents.{name}"] = Mutant(_not_overridden(key, "agents"), (agents,))
        symbols = f"{BRANCH}test_every_hard_limit_holds_for_one_symbol_as_it_does_for_the_account[{name}]"
        if name == "rejections_latch":
            symbols = f'{LIMITS}test_an_agent_or_a_symbol_may_only_be_tighter[{name}-[symbols."AAPL"]]'
        found[f"key symbols.{name}"] = Mutant(_not_overridden(key, "symbols"), (symbols,))
    return found


def _session_keys() -> dict[str, Mutant]:
    tests = {
        "no_entry_first_s": f"{KILL}test_the_sessions_rules_are_read[no_entry_first_s-facts0]",
        "no_entry_last_s": f"{KILL}test_the_sessions_rules_are_read[no_entry_last_s-facts1]",
        "flatten_before_close_s": f"{KILL}test_flatten_before_the_close_is_read",
    }

    def off(name: str) -> Callable[[], None]:
        return _replacing(
            limits_module, "_session", lambda found, _args: msgspec.structs.replace(found, **{name: 0})
        )

    return {f"key session.{key.name}": Mutant(off(key.name), (tests[key.name],)) for key in SESSION_KEYS}


def _lists() -> dict[str, Mutant]:
    lists = f"{KILL}test_the_allow_list_and_the_short_switch_are_read"
    everything = ("AAPL", "SPY", "BTC/USD", "SOL/USD")
    return {
        "key symbols.allow": Mutant(
            _replacing(limits_module, "_symbols", lambda found, _args: (everything, *found[1:])), (lists,)
        ),
        "key symbols.allow_short": Mutant(
            _replacing(limits_module, "_symbols", lambda found, _args: (found[0], True, found[2])), (lists,)
        ),
        "key day.roll": Mutant(_roll_at_midnight, (f"{FILE}test_the_roll_is_read",)),
    }


def _roll_at_midnight() -> None:
    from hands.runtime import config

    asked = config._rolls

    def rolls(limits: LimitsFile, problems: list[str]) -> tuple[int, ...]:
        return asked(msgspec.structs.replace(limits, roll_time="00:00", roll_zone="UTC"), problems)

    config._rolls = rolls


def _agents() -> dict[str, Mutant]:
    def without(name: str) -> Callable[[], None]:
        names = (name, "expires_ns") if name == "expires" else (name,)
        default = {each: getattr(UNBOUNDED, each) for each in names}
        return _replacing(
            limits_module, "read_capabilities", lambda found, _args: msgspec.structs.replace(found, **default)
        )

    def no_user(found: Any, _args: Any) -> Any:
        return {name: msgspec.structs.replace(agent, user=None) for name, agent in found.items()}

    tests = {
        "symbols": f"{BRANCH}test_this_branch_says_no[symbol_allowed/agent]",
        "directions": f"{BRANCH}test_this_branch_says_no[short_allowed/agent]",
        "daily_notional_usd": f"{AGENTS}test_the_daily_notional_is_a_cap_of_the_size",
        "expires": f"{AGENTS}test_after_its_day_an_agents_documents_are_refused_with_the_date",
    }
    found = {f"key agents.{name}": Mutant(without(name), (tests[name],)) for name in sorted(CAPABILITY_KEYS)}
    found["key agents.user"] = Mutant(
        _replacing(limits_module, "_agents", no_user), (f"{LIMITS}test_an_agents_user_is_kept",)
    )
    return found


# --- latches, the reload and the file's owner --------------------------------------------------------------


class _Deaf(dict[str, Any]):
    """Reasons that never hold one of them."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def __setitem__(self, code: str, reason: Any) -> None:
        if code != self._code:
            super().__setitem__(code, reason)


def _without_reason(code: str) -> Callable[[], None]:
    def apply() -> None:
        made = State.__init__

        def make(self: State, *args: Any, **facts: Any) -> None:
            made(self, *args, **facts)
            self.reasons = _Deaf(code)

        State.__init__ = make  # type: ignore[method-assign]

    return apply


def _breakers() -> dict[str, Mutant]:
    test = f"{LATCHES}test_it_is_set_and_nothing_is_entered"
    return {
        f"breaker {breaker.code}": Mutant(_without_reason(breaker.code), (f"{test}[{breaker.code}]",))
        for breaker in BREAKERS
    }


def _all_tighter() -> None:
    asked = tightening.compare
    tightening.compare = lambda before, after: [
        msgspec.structs.replace(change, looser=False) for change in asked(before, after)
    ]


def _nothing(*_args: Any) -> None:
    """What is done instead."""


def _reload() -> dict[str, Mutant]:
    def drop(name: str) -> Callable[[], None]:
        return lambda: setattr(tightening, name, _nothing)

    def trust_everybody() -> None:
        from hands.runtime import config

        config._risks = lambda *_args: ()  # type: ignore[assignment]

    return {
        "reload takes what loosens": Mutant(
            _all_tighter, (f"{RELOAD}test_a_file_that_loosens_one_key_is_not_taken_up_at_all",)
        ),
        "reload looks at no breaker": Mutant(
            drop("watch_losses"), (f"{RELOAD}test_a_lower_daily_loss_may_be_reached_already",)
        ),
        "reload latches no agent": Mutant(
            drop("latch_agent"), (f"{RELOAD}test_fewer_faults_may_latch_an_agent_already",)
        ),
        "reload looks at no trade": Mutant(
            drop("supervise"), (f"{RELOAD}test_a_shorter_partial_grace_holds_for_what_is_filling_now",)
        ),
        "start tells of nothing looser": Mutant(
            drop("_tell_what_loosened"), (f"{RELOAD}test_a_start_that_loosens_is_seen",)
        ),
        "limits that a brain may write": Mutant(
            trust_everybody, (f"{FILE}test_real_money_refuses_a_brain_without_a_user_of_its_own",)
        ),
    }


def _changes() -> dict[str, Mutant]:
    return {f"change {name}": Mutant(rule.take_out, (rule.killed_by,)) for name, rule in RULES.items()}


def _moves() -> dict[str, Mutant]:
    return {f"move {name}": Mutant(rule.take_out, (rule.killed_by,)) for name, rule in MOVES.items()}


MUTANTS: dict[str, Mutant] = {
    **_checks(),
    **_branches(),
    **_hard_keys(),
    **_scoped_keys(),
    **_session_keys(),
    **_lists(),
    **_agents(),
    **_breakers(),
    **_reload(),
    **_changes(),
    **_moves(),
}
"""Every mutant by its name."""
