"""The mutants of what rests: each rule by which it is moved, trails, gives way to a part, and is doubted, taken out.

Owns the table `MOVES`. The one idea is that of `tests.kill.changes`: a rule is one expression in one function.
"""

from __future__ import annotations

from hands.core import (
    basis,
    executions,
    groups,
    moving,
    ownership,
    parts,
    protection,
    reports,
    trailing,
    venue_events,
)
from tests.kill.changes import Rule

MOVING = "tests/core/test_moving.py::"
BASIS = "tests/core/test_basis.py::"
REPAIRED = "tests/exploration/test_repaired.py::test_what_was_repaired_stays_repaired"
COUNTS_ON = (
    "tests/core/test_executions.py::test_a_successor_that_counts_on_lacks_only_the_fills_that_are_its_own"
)
SPLIT = f"{BASIS}test_a_split_freezes_the_trade_and_nothing_is_sent_on_the_old_prices"

MOVES: dict[str, Rule] = {
    # what rests is moved
    "a looser stop is never asked for": Rule(
        moving._wanted, " or not tighter(ticket, stop, order.stop_price)", "",
        f"{MOVING}test_a_looser_stop_is_never_asked_for",
    ),
    "what waits for the session is not moved": Rule(
        moving.follow, "order.status not in MOVABLE or ", "",
        f"{MOVING}test_an_order_that_waits_for_the_session_is_moved_at_the_open", others=(protection,),
    ),
    "one move of an order at a time": Rule(
        moving.follow, "if any(predecessor(ticket, order) in resting for order in resting):", "if False:",
        f"{MOVING}test_a_silent_stream_does_not_leave_the_old_order_standing_beside_the_new", others=(protection,),
    ),
    "the market is through a stop that was not moved": Rule(
        moving.notice_overtaken, "if mark is not None and", "if False and",
        f"{MOVING}test_a_stop_that_the_market_is_already_through_is_an_exit", others=(protection,),
    ),
    "refused through the market": Rule(
        moving._refused, "if through is not None and", "if False and",
        f"{MOVING}test_refused_through_the_market_is_an_exit",
    ),
    "a refused move waits": Rule(
        moving.put_off, "state.now_ns + wait_ns", "state.now_ns",
        f"{MOVING}test_a_refused_move_leaves_the_old_stop_and_is_tried_again[refusal4-True]",
    ),
    "unchanged is where it is wanted": Rule(
        moving._refused, "if meaning is Meaning.UNCHANGED:", "if False:",
        f"{MOVING}test_an_unchanged_order_is_taken_at_its_word",
    ),
    "a successor carries fills": Rule(
        reports._take_place, "order.carries = report.qty >= before.qty", "order.carries = False",
        f"{MOVING}test_a_fill_that_races_the_move_counts_once[False]",
    ),
    "the old order is asked for": Rule(
        moving.settle_moves, "if state.now_ns >= new.acked_ns + ASK_FIRST_NS:", "if False:",
        f"{MOVING}test_a_silent_stream_does_not_leave_the_old_order_standing_beside_the_new", others=(protection,),
    ),
    "a lost move is not asked for before it is denied twice": Rule(
        moving.chase_move, "if new.missing >= 2 and state.now_ns >= sent_ns + LOST_MOVE_NS:", "if True:",
        f"{MOVING}test_a_move_of_which_every_word_was_lost_is_asked_for_and_not_repeated", others=(protection,),
    ),
    "the owner's move is not ours": Rule(
        moving.successor_of, "if is_ours(each.client_order_id)", "",
        f"{REPAIRED}[the owner's move passes for ours, and ours stays unsent]", others=(venue_events,),
    ),
    # it trails
    "a trail never goes back": Rule(
        trailing.trail, "if gain >= step:", "if gain:",
        f"{MOVING}test_a_peak_between_two_moves_is_not_forgotten", others=(protection,),
    ),
    "a trail stays short of the target": Rule(
        trailing._stop_behind, "stop = stop if target is None else min(stop, target - LEG_ROOM)", "pass",
        f"{MOVING}test_a_trail_never_crosses_the_target",
    ),
    "a trail of shares waits for the session": Rule(
        trailing.trail, "or not can_exit_now(state, ticket)", "",
        f"{MOVING}test_equities_do_not_trail_outside_the_session", others=(protection,),
    ),
    "steps of a trail": Rule(
        trailing._step, "ceil_to(distance // STEPS, tick)", "0",
        f"{MOVING}test_what_is_less_than_a_step_moves_nothing",
    ),
    "all that trail share a pace": Rule(
        moving._due_ns, "len(book) * SHARE_NS", "0",
        f"{MOVING}test_many_that_trail_share_one_move_a_second",
    ),
    "the pace of a trail": Rule(
        moving._due_ns, "order.created_ns + max(", "0 * max(",
        f"{MOVING}test_steps_are_at_least_a_tenth_of_the_distance_and_two_seconds_apart",
    ),
    # a part is sold
    "a part counts down": Rule(
        reports._merge_fills, "if order.part:", "if False:",
        f"{MOVING}test_a_part_is_sold_once_and_the_rest_is_protected_again[AAPL-20-46]",
    ),
    "a part gives way after two tries": Rule(
        parts._due_ns, "return last_ns + PAUSE_NS", "return last_ns + 20 * PAUSE_NS",
        f"{MOVING}test_a_part_that_does_not_sell_gives_way_to_protection_and_is_given_up",
    ),
    "a part is given up": Rule(
        parts.give_up_part, "or state.now_ns < since + PATIENCE_NS:", "or True:",
        f"{MOVING}test_a_part_that_does_not_sell_gives_way_to_protection_and_is_given_up", others=(protection,),
    ),
    "a part waits for the open": Rule(
        parts.is_part_due, "or not can_exit_now(state, ticket):", "or False:",
        f"{MOVING}test_a_part_waits_for_the_open", others=(protection,),
    ),
    # the price basis
    "a split": Rule(
        basis._is_split, "return abs(qty - expected)", "return False and abs(qty - expected)",
        f"{SPLIT}[4 for 1]",
    ),
    "a sale is no split": Rule(
        basis._is_split, "or abs(ours - theirs) * LEAST_CHANGE < ours", "",
        f"{BASIS}test_what_the_owner_sells_or_buys_is_no_split[65-150]",
    ),
    "a split is looked for first": Rule(
        basis.note_end, "ticket.basis_due_ns = state.now_ns", "pass", f"{SPLIT}[4 for 1]", others=(reports,),
    ),
    "what was cancelled before explains no end": Rule(
        basis.note_end, " and each.cancel_ns >= began_ns", "",
        f"{BASIS}test_a_split_of_what_a_part_sale_left_sends_nothing_on_the_old_prices", others=(reports,),
    ),
    "what was sold before explains no end": Rule(
        basis.note_end, "each.filled_qty and each.created_ns >= began_ns", "each.filled_qty",
        f"{BASIS}test_a_split_of_what_a_part_sale_left_sends_nothing_on_the_old_prices", others=(reports,),
    ),
    "a look for a split has its time": Rule(
        basis.is_unsure, "or state.now_ns >= until:", "or False:",
        f"{BASIS}test_a_venue_that_does_not_answer_holds_protection_up_for_a_part_of_the_bound_only",
        others=(protection,),
    ),
    "a snapshot that shows what is owned settles it": Rule(
        basis.is_unsure, "or agrees or", "or",
        f"{BASIS}test_what_has_just_been_bought_is_protected_again_once_a_snapshot_shows_it", others=(protection,),
    ),
    "a new name": Rule(
        basis._renamed, "if not known and same_qty and", "if False and",
        f"{BASIS}test_a_new_name_freezes_and_nothing_is_sold_under_the_old_one",
    ),
    "gone with its listing": Rule(
        basis._renamed, 'if asset is not None and asset.status != "active":', "if False:",
        f"{BASIS}test_a_holding_that_is_gone_with_its_listing_is_frozen",
    ),
    "what was let go is its owner's": Rule(
        basis.let_go, "if not ticket.basis or ticket.frozen or", "if True or",
        f"{BASIS}test_resume_lets_it_go_and_it_is_the_owners", others=(protection,),
    ),
    "a listing that ends is told": Rule(
        basis._trades, "and asset.tradable", "",
        f"{BASIS}test_a_held_symbol_that_is_not_traded_any_more_is_told_once[change1]",
    ),
    # groups, and what is doubted
    "an answer older than the news": Rule(
        groups.note_read, "stale = stale or (leg.order_id in working and not leg.is_live)", "pass",
        f"{REPAIRED}[a moved leg of a pair]", others=(venue_events, ownership),
    ),
    "an exit waits for a doubted group": Rule(
        protection._exit, "if waits:", "if False:",
        f"{REPAIRED}[a moved leg of a bracket that is to be closed]",
    ),
    "a leg whose successor was named first": Rule(
        reports._adopt_leg, "if after is not None:", "if False:",
        "tests/exploration/test_repaired.py::test_a_leg_whose_successor_was_named_first_is_entered_as_replaced",
    ),
    "a refused repeat proves nothing": Rule(
        reports.submit_answered, "elif order.resends:", "elif False:", f"{REPAIRED}[a refused repeat]",
        others=(venue_events,),
    ),
    "the group's word ends a leg": Rule(
        groups.note_read, "if leg.unlisted and leg.is_live and", "if False and",
        f"{REPAIRED}[the truth names the new one of two, and the old one counts]", others=(venue_events, ownership),
    ),
    # fills
    "a fill that was carried is not lacking": Rule(
        executions._own_qty, "ticket.own_part(order)[0]", "order.filled_qty", f"{COUNTS_ON}[False]",
    ),
}  # fmt: skip
"""Every rule by its name."""
