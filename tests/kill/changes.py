"""The mutants of changing one's mind: each rule of `changes`, `operator` and `adoption` taken out of its function's text.

Owns the table `RULES`. The one idea: a rule is one expression in one function; the mutant is that function, made anew
from its source with the expression replaced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from hands.core import admission, adoption, changes, filing, operator

CHANGES = "tests/core/test_changes.py::"
OPERATOR = "tests/core/test_operator.py::"
AMEND = f"{CHANGES}test_what_an_amend_comes_to"
PART = f"{CHANGES}test_what_a_part_comes_to"
ADOPT = f"{OPERATOR}test_what_cannot_be_adopted_and_why"


class Rule(NamedTuple):
    """In `function`, `text` becomes `instead`; also where `others` have the function by name. `killed_by` notices."""

    function: Callable[..., object]
    text: str
    instead: str
    killed_by: str
    others: tuple[ModuleType, ...] = ()

    def take_out(self) -> None:
        """Make the function anew without its rule; nothing but this process notices."""
        source, module = inspect.getsource(self.function), inspect.getmodule(self.function)
        assert module is not None
        assert source.count(self.text) == 1, f"{self.text!r} is not once in {self.function.__name__}"
        exec(source.replace(self.text, self.instead), module.__dict__)
        for table in [found for found in vars(module).values() if isinstance(found, dict)]:
            for key in [key for key, value in table.items() if value is self.function]:
                table[key] = getattr(module, self.function.__name__)
        for other in self.others:
            setattr(other, self.function.__name__, getattr(module, self.function.__name__))


RULES: dict[str, Rule] = {
    "looser stop": Rule(
        changes._new_stop, "if (stop < now) is ticket.is_long:", "if False:", f"{AMEND}[LONG-stop_loss=147.99]"
    ),
    "looser stop of a short": Rule(
        changes._new_stop, "(stop < now) is ticket.is_long", "(stop < now) and ticket.is_long",
        f"{AMEND}[SHORT-stop_loss=152.01]",
    ),
    "stop through the market": Rule(
        changes._new_stop, "if market is not None and", "if False and", f"{AMEND}[LONG-stop_loss=149.98]"
    ),
    "stop rounded away": Rule(
        changes.towards_market, "ceil_to(stop, tick) if", "floor_to(stop, tick) if", f"{AMEND}[LONG-stop_loss=149.001]"
    ),
    "target on the wrong side": Rule(
        changes._new_target, "if market is not None and", "if False and", f"{AMEND}[LONG-take_profit=150]"
    ),
    "longer hold": Rule(
        changes._amend, "and hold > before:", "and False:", f"{AMEND}[LONG-max_hold_seconds=3601]"
    ),
    "frozen prices": Rule(
        changes._amend, "if ticket.frozen:", "if False:", f"{CHANGES}test_no_price_of_a_frozen_trade_is_moved"
    ),
    "another agent's trade": Rule(
        changes.own_target, "and ticket.agent == agent", "", f"{CHANGES}test_of_anothers_trade_nothing_is_told",
        others=(admission,),
    ),
    "HALTED": Rule(
        changes.answer, "if state.trading_state is TradingState.HALTED:", "if False:",
        f"{CHANGES}test_halted_refuses_every_kind[close]", others=(admission,),
    ),
    "a close given up with its target": Rule(
        changes.end, "if ticket.exit_reason is ExitReason.TAKE_PROFIT:", "if False:",
        f"{CHANGES}test_a_close_is_not_given_up_when_the_target_slips_away",
    ),
    "a part too small to sell": Rule(changes._close_part, "if part <= 0 or", "if False and", f"{PART}[SOL/USD-0.05]"),
    "a rest too small to rest": Rule(
        changes._close_part, "if not _can_rest(state, ticket, plan, rest):", "if False:", f"{PART}[SOL/USD-9.95]"
    ),
    "a part forgets those before": Rule(
        changes._close_part, "owned, before = ticket.owned, ticket.close_qty", "owned, before = ticket.owned, 0",
        f"{CHANGES}test_parts_add_up_and_end_in_all",
    ),
    "a part taken twice": Rule(
        filing.use_up, "state.seen[intent_id] = seen", "pass",
        f"{CHANGES}test_a_part_is_taken_once_however_often_its_file_is_read[False]", others=(admission,),
    ),
    "what waits for a quote goes on": Rule(
        changes.own_target, "or state.waiting_ticket(target_id)", "",
        f"{CHANGES}test_what_waits_for_its_quote_is_taken_back", others=(admission,),
    ),
    "flatten without HALTED": Rule(
        operator._flatten, "TradingState.HALTED, BY_OPERATOR", "TradingState.ACTIVE, BY_OPERATOR",
        f"{OPERATOR}test_flatten_ends_everything_there_and_halts[None]",
    ),
    "adopt beside an order": Rule(
        adoption._hindrance, 'if "an order that is not ours works there" in works:', "if False:", f"{ADOPT}[order_there]"
    ),
    "adopt beside a trade of ours": Rule(
        adoption._hindrance, "if state.live_on(symbol):", "if False:", f"{ADOPT}[ours_there]"
    ),
    "adopt with a stop through the market": Rule(
        adoption._misplaced, "if stop >= mark if is_long else stop <= mark:", "if False:", f"{ADOPT}[149.98]"
    ),
    "adopt by an old word": Rule(
        adoption.adopt, "if why is None and state.now_ns >", "if False and state.now_ns >", f"{ADOPT}[asked_long_ago]",
        others=(),
    ),
    "adopt with its old result": Rule(
        adoption._take, "won = unrealised_usd(state, ticket.agent) - before", "won = 0",
        f"{OPERATOR}test_an_adopted_trade_counts_and_its_result_counts_from_its_adoption",
    ),
}  # fmt: skip
