"""The image of a state: nothing is missing from it, every value comes back as it was, what is another's is refused.

How an image decides is held in `tests/properties/test_image_properties.py`; here is what one is.
"""

from __future__ import annotations

import ast
import inspect as source
import os
import textwrap
from collections import OrderedDict, deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import inspect

from hands.core import image
from hands.core.image import (
    WRITTEN_AHEAD,
    Image,
    ImageError,
    digest_of,
    image_of,
    restore_image,
    shape,
)
from hands.core.limits import LimitsFile
from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows
from hands.core.state import AgentBook, DayBook, Halt, Seen, State, Waiting, encode
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import TradeState
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id, live, quote, world


def market_of(state: State) -> Market:
    return Market.restore(state.market.snapshot())


def copied(state: State) -> State:
    return restore_image(image_of(state), market_of(state))


# --- nothing is missing ------------------------------------------------------------------------------------------


def test_every_attribute_of_a_state_is_known() -> None:
    assert vars(world()).keys() == image.KNOWN
    assert not hasattr(State, "__slots__"), "what is in a slot is not in `vars`"


@pytest.mark.parametrize(
    "change", [lambda state: setattr(state, "mood", 1), lambda state: delattr(state, "fence")]
)
def test_a_state_with_other_attributes_has_no_image(change: Callable[[State], None]) -> None:
    state = world()
    change(state)
    with pytest.raises(TypeError, match=r"not known: (mood|fence)$"):
        image_of(state)


def test_what_classes_of_their_own_keep_is_in_an_image_or_follows_from_it() -> None:
    state = world()
    assert vars(state.stakes).keys() == {"_tickets", "_stakes", "_sums"}  # both sums follow from the tickets
    assert vars(state.accepted).keys() == {
        "_by_time",
        "_by_idea",
        "_latest",
        "_void",
    }  # two orders of the first
    by_rows = {"_symbols", "_series", "_history", "_table", "rows_seen", "symbols", "intervals_s"}
    follows = {
        "index",
        "_series_of",
        "_k_day",
        "_kept",
        "_blank",
        "_quotes",
        "_trades",
        "_sides",
        "fired",
        "_consume",
        "_observe",
    }
    # of one call: what fired last is taken before the next row, and whose state was mended is recorded before it
    scratch = {"_shown", "_checked", "fired_count", "mended"}
    assert vars(state.market).keys() == by_rows | follows | scratch


def records() -> list[type[msgspec.Struct]]:
    """Return every record that can be in an image."""
    found: dict[type[msgspec.Struct], None] = {}

    def walk(info: Any) -> None:
        if isinstance(info, inspect.StructType):
            if info.cls in found:
                return
            found[info.cls] = None
            for each in info.fields:
                walk(each.type)
        for name in ("key_type", "value_type", "item_type"):
            if hasattr(info, name):
                walk(getattr(info, name))
        for each in (*getattr(info, "item_types", ()), *getattr(info, "types", ())):
            walk(each)

    for record in (Image, *WRITTEN_AHEAD.values()):
        walk(inspect.type_info(record))
    return list(found)


def test_no_record_keeps_what_is_not_written_down() -> None:
    """`dict=True` gives a record room for more than its fields; only the limits have it, for what follows from them."""
    assert {Ticket, LimitsFile, Waiting, Halt} <= set(records())
    roomy = [
        record for record in records() if record.__struct_config__.dict or record.__struct_config__.weakref
    ]
    assert roomy == [LimitsFile]
    kept = {name for name, value in vars(LimitsFile).items() if type(value).__name__ == "cached_property"}
    assert kept == {"_merged", "_allowed"}
    silent = [record for record in records() if record.__struct_config__.omit_defaults]
    assert silent == []
    mixed = [record for record in records() if not issubclass(record.__base__ or object, msgspec.Struct)]
    assert mixed == []


def test_limits_that_were_asked_are_the_same_limits() -> None:
    state = world(extra='[symbols."AAPL"]\nmax_position_size = 0.05\n')
    before = image_of(state)
    merged = state.limits.effective("default", "AAPL")
    assert image_of(state) == before
    assert copied(state).limits.effective("default", "AAPL") == merged != state.limits.hard


def test_every_kind_that_is_written_ahead_can_be_in_an_image() -> None:
    """What `State.restore` reads is what the core writes is what an image knows."""
    tree = ast.parse(textwrap.dedent(source.getsource(State.restore)))
    cases = [node.value for node in ast.walk(tree) if isinstance(node, ast.MatchValue)]
    assert {case.value for case in cases if isinstance(case, ast.Constant)} == set(WRITTEN_AHEAD)


class _Loose(msgspec.Struct):
    words: set[str]


class _Looser(msgspec.Struct):
    inside: list[dict[str, Any]]


@pytest.mark.parametrize("record", [_Loose, _Looser])
def test_a_record_that_would_not_come_back_alike_has_no_shape(record: type[msgspec.Struct]) -> None:
    """Sets have no order of their own, and what is anything comes back as a number or a list."""
    with pytest.raises(TypeError, match="does not come back"):
        image._tell(inspect.type_info(record), {})


def test_the_shape_changes_with_any_field_of_any_record() -> None:
    def told(*fields: tuple[str, Any]) -> str:
        inner = msgspec.defstruct("Inner", fields, namespace={"__module__": "x", "__qualname__": "Inner"})
        outer = msgspec.defstruct("Outer", [("each", dict[str, list[inner]])])
        return repr(sorted(({}, image._tell(inspect.type_info(outer), found := {}), found)[2].items()))

    shapes = [
        told(("a", int)),
        told(("b", int)),
        told(("a", float)),
        told(("a", int | None)),
        told(("a", int), ("b", int)),
    ]
    assert len(set(shapes)) == len(shapes)
    assert shape() == shape.__wrapped__()


# --- every value comes back --------------------------------------------------------------------------------------

WORDS = ("", "AAPL", 'ä\n"\x00', "x" * 40, "null", "5")
NUMBERS = (0, 1, -1, NOW, 2**62, -(2**63), 2**64, -(10**30))
FLOATS = (0.0, -0.0, 0.1, 5.0, 1e16, 1e300, 5e-324, -2.5)
PLAIN: dict[type[Any], tuple[Any, ...]] = {
    inspect.BoolType: (False, True),
    inspect.BytesType: (b"", b"\xff\x00{}"),
    inspect.FloatType: FLOATS,
    inspect.IntType: NUMBERS,
    inspect.NoneType: (None,),
    inspect.RawType: (msgspec.Raw(b"null"),),
    inspect.StrType: WORDS,
}


def some(info: Any, rng: Random) -> Any:
    """Return what a field of an image can be."""
    match info:
        case inspect.StructType(cls=record, fields=fields):
            return record(**{each.name: some(each.type, rng) for each in fields})
        case inspect.DictType(key_type=key, value_type=value):
            return {some(key, rng): some(value, rng) for _ in range(rng.randrange(3))}
        case inspect.ListType(item_type=item):
            return [some(item, rng) for _ in range(rng.randrange(3))]
        case inspect.VarTupleType(item_type=item):
            return tuple(some(item, rng) for _ in range(rng.randrange(4)))
        case inspect.TupleType(item_types=items):
            return tuple(some(item, rng) for item in items)
        case inspect.UnionType(types=types):
            return some(rng.choice(types), rng)
        case inspect.EnumType(cls=words):
            return rng.choice(list(words))
        case inspect.LiteralType(values=choices):
            return rng.choice(choices)
    return rng.choice(PLAIN[type(info)])


def drawn(rng: Random) -> Image:
    """Return the image of a state that need not be a possible one, but does not contradict itself."""
    any_image = some(inspect.type_info(Image), rng)
    live_ones = (some(inspect.type_info(Ticket), rng) for _ in range(rng.randrange(4)))
    tickets = {ticket.intent_id: ticket for ticket in live_ones}
    kinds = rng.sample(list(WRITTEN_AHEAD), 3)
    changed = {
        (kind, some(PLAIN_WORD, rng)): some(inspect.type_info(WRITTEN_AHEAD[kind]), rng) for kind in kinds
    }
    return msgspec.structs.replace(
        any_image,
        shape=shape(),
        tickets=tickets,
        stakes=sorted(tickets, reverse=True),
        timers=list(dict.fromkeys(any_image.timers)),
        armed_slots=list({slot[:2]: slot for slot in any_image.armed_slots}.values()),
        void=sorted(set(any_image.void)),
        changed=[(*key, msgspec.Raw(encode(entity))) for key, entity in changed.items()],
    )


PLAIN_WORD = inspect.type_info(str)


@pytest.mark.parametrize("seed", range(400) if os.environ.get("HANDS_SOAK") else range(12))
def test_whatever_is_in_an_image_is_in_the_state_made_of_it(seed: int) -> None:
    data = encode(drawn(Random(seed)))
    state = restore_image(data, Market(()))
    assert image_of(state) == data
    assert difference(state, restore_image(data, state.market)) is None


def test_every_field_of_an_image_counts() -> None:
    """A state made of an image that differs in one field differs from the other in that field."""
    rng, first = Random(1), drawn(Random(2))
    for each in inspect.type_info(Image).fields:  # type: ignore[attr-defined]
        if each.name in ("shape", "tickets", "stakes", "changed"):
            continue  # held together by the tests around this one
        was = encode(getattr(first, each.name))
        found = next(value for value in (some(each.type, rng) for _ in range(99)) if encode(value) != was)
        data = encode(msgspec.structs.replace(first, **{each.name: found}))
        assert image_of(restore_image(data, Market(()))) == data, each.name


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Return where two values are not equal or not of one type, all the way down, None if nowhere.

    A word may be a member of its enumeration: the two are equal, hash alike and are written alike.
    """
    if isinstance(one, str) and isinstance(other, str):
        return None if one == other else where
    if type(one) is not type(other):
        return f"{where}: {type(one)} and {type(other)}"
    if isinstance(one, Market):
        return None
    parts: list[tuple[object, Any, Any]] = []
    if isinstance(one, dict):
        if where.endswith("._asked"):  # only ever looked up in
            return None if one == other else where
        if list(one) != list(other):
            return f"{where}: {list(one)} and {list(other)}"
        parts = [(key, value, other[key]) for key, value in one.items()]
    elif isinstance(one, list | tuple | deque):
        if len(one) != len(other):
            return f"{where}: {len(one)} and {len(other)}"
        parts = list(zip(range(len(one)), one, other, strict=True))
    elif isinstance(one, msgspec.Struct):
        parts = [(name, getattr(one, name), getattr(other, name)) for name in one.__struct_fields__]
    elif hasattr(one, "__dict__"):
        return difference(vars(one), vars(other), where)
    elif one != other:
        return f"{where}: {one} and {other}"
    found = (difference(value, again, f"{where}.{key}") for key, value, again in parts)
    return next((each for each in found if each is not None), None)


def busy() -> Desk:
    """Return a desk with a trade of each kind: open, working, armed, waiting for its quote, denied, over."""
    desk = Desk(max_concurrent=9, semantic_duplicate_s=0)
    desk.drop(1, "AAPL")
    desk.drop(2, "SOL/USD", trailing_stop_pct=0.01)
    desk.run(1)
    desk.quote("AAPL", "155.10", "155.12")
    desk.run(3)
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(3, "AAPL", entry="touch", trigger_price="149", arm_seconds="600")
    desk.drop(4, "AAPL", confidence="0.1")
    desk.mute_quotes = True
    desk.run(6)
    desk.poll()
    desk.drop(5, "SPY")
    return desk


def test_a_state_is_the_same_in_every_part_and_type() -> None:
    state = busy().state
    states = {ticket.state for ticket in (*state.tickets.values(), *state.finished.values())}
    assert states == {TradeState.OPEN, TradeState.ARMED, TradeState.CLOSED, TradeState.REJECTED}
    assert state.waiting
    state.stakes.total()
    again = copied(state)
    again.stakes.total()
    assert difference(state, again) is None
    assert (type(again.finished), type(again.changes), type(again.approvals)) == (
        OrderedDict,
        OrderedDict,
        deque,
    )


def test_the_book_that_is_counted_holds_the_tickets_that_are_looked_after() -> None:
    state = copied(busy().state)
    counted = {ticket.intent_id: ticket for ticket in state.stakes.tickets()}
    assert counted
    assert all(state.tickets[intent_id] is ticket for intent_id, ticket in counted.items())
    before = state.stakes.total()
    (ticket,) = counted.values()
    ticket.received_qty = type(ticket.received_qty)(ticket.received_qty // 2)
    state.touch(ticket)
    assert state.stakes.total() != before


def test_the_order_of_approval_is_kept_although_the_live_book_has_another() -> None:
    state = world(max_concurrent=9)
    first, second = live(state, 901, "AAPL", limit="150", stop="148", target="155"), live(state, 902, "SPY")
    state.finish(first)
    state.tickets = {second.intent_id: second, first.intent_id: first}
    state.stakes = type(state.stakes)((first, second))
    again = copied(state)
    assert [t.intent_id for t in again.committed()] == [first.intent_id, second.intent_id]
    assert list(again.tickets) == [second.intent_id, first.intent_id]


def test_what_is_not_yet_written_ahead_is_the_states_own() -> None:
    state = world()
    ticket = live(state)
    state.touch(ticket)
    state.agents["a"] = AgentBook(faults=3)
    state.changed["agent", "a"] = state.agents["a"]
    state.changed["day", ""] = DayBook(started_ns=Ns(1))  # yesterday's: not the state's any more
    state.changed["ticket", intent_id(7)] = None
    state.changed["seen", "x"] = Seen(sha256="s", agent="a", name="n", at_ns=NOW, settled=False)
    again = copied(state)
    assert image_of(again) == image_of(state)
    assert again.changed["ticket", ticket.intent_id] is again.tickets[ticket.intent_id]
    assert again.changed["agent", "a"] is again.agents["a"]
    assert again.changed["day", ""] == DayBook(started_ns=Ns(1)) != again.day
    assert again.changed["ticket", intent_id(7)] is None


def test_an_idea_that_is_void_no_more_stays_so() -> None:
    desk = Desk(semantic_duplicate_s=3600)
    desk.venue.portion = lambda _order: 0
    desk.drop(1)
    desk.run(20)
    state = desk.state
    assert state.accepted.void == [intent_id(1)]
    assert copied(state).accepted.void == [intent_id(1)]
    state.accepted.end(intent_id(1), void=False)
    assert copied(state).accepted.void == []


# --- what is another's is refused --------------------------------------------------------------------------------


def test_bytes_that_are_no_image_are_refused() -> None:
    good = image_of(world())
    for bad in (
        b"",
        b"{}",
        b"\xff",
        good[:-1],
        b'{"shape":"\xff"}',
        good.replace(b'"shape":"', b'"shape":"0'),
    ):
        with pytest.raises(ImageError, match=r"not the image of a state|of shape"):
            restore_image(bad, Market(()))


def test_an_image_that_lacks_a_field_or_has_one_more_is_refused() -> None:
    good = msgspec.json.decode(image_of(world()))
    for bad in ({**good, "mood": 1}, {name: value for name, value in good.items() if name != "fence"}):
        with pytest.raises(ImageError, match=r"mood|fence"):
            restore_image(encode(bad), Market(()))


def test_an_image_of_another_version_says_so() -> None:
    other = image_of(world()).replace(shape().encode(), b"0123456789abcdef")
    with pytest.raises(ImageError, match=r"of shape '0123456789abcdef'.*only the version that made it"):
        restore_image(other, Market(()))


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"stakes": ["nobody"]}, "not in its live book: nobody"),
        ({"changed": [["mood", "", {}]]}, "unknown kind 'mood'"),
        ({"changed": [["ticket", "x", {}]]}, "changed ticket 'x' is none"),
    ],
)
def test_an_image_that_contradicts_itself_is_refused(facts: dict[str, Any], says: str) -> None:
    bad = encode(msgspec.json.decode(image_of(world())) | facts)
    with pytest.raises(ImageError, match=says):
        restore_image(bad, Market(()))


# --- digests -----------------------------------------------------------------------------------------------------


def test_a_digest_is_of_the_state_and_of_its_market() -> None:
    state = world()
    before = digest_of(state)
    assert digest_of(copied(state)) == before
    state.fence += 1
    other = digest_of(state)
    state.fence -= 1
    quote(state, "AAPL", "149.97", "150.00")
    assert len({before, other, digest_of(state)}) == 3


# --- the market ---------------------------------------------------------------------------------------------------

S = NS_PER_S


def rows(*prices: float, sym: int = 0, since_s: int = 0) -> np.ndarray:
    """Return a trade per half minute."""
    made = new_rows(len(prices))
    made["sym"], made["kind"], made["flags"] = sym, RowKind.TRADE, RowFlag.ELIGIBLE
    made["price"], made["size"] = prices, 3.0
    made["venue_ns"] = made["recv_ns"] = NOW + (since_s + 30 * np.arange(len(prices))) * S
    return made


def played() -> Market:
    """Return a market with periods, jumps to suspect, a session and triggers of every kind, in the middle of its day."""
    periods = {"*": {"rsi": 3}, "B": {"macd_fast": 2, "macd_slow": 4}}
    market = Market(("A", "B"), (60, 300, 3600), periods, suspicious_jump=0.1)
    market.set_session(0, NOW - 10 * S, 3600 * S)
    for level in range(70):  # more than there was room for
        market.arm(level % 2, TriggerOn.TRADE, TriggerDirection.ABOVE, 200 + level)
    market.arm_trailing(0, TriggerOn.TRADE, TriggerDirection.BELOW, 40.0)
    market.arm_trailing(1, TriggerOn.TRADE, TriggerDirection.BELOW, 0.5, is_fraction=True)
    market.disarm(3)
    for _ in range(2):
        market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 107)
    for each in (rows(100, 101, 102, 150, 99, 98, 200), rows(50, 51, 49, sym=1)):
        at = 0
        while at < len(each):
            at = market.consume(each, at, len(each))
    return market


def checkpointed(market: Market) -> None:
    then = market.checkpoint(0)
    market.consume(rows(97, since_s=400), 0, 1)
    market.rebuild(then, rows(96, 95, since_s=300))


DOINGS: dict[str, Callable[[Market], object]] = {
    "rows": lambda market: market.consume(rows(103, 60, 61, since_s=300), 0, 3),
    "a suspicious row": lambda market: market.consume(rows(180, since_s=190), 0, 1),
    "a trigger": lambda market: market.arm(1, TriggerOn.BID, TriggerDirection.BELOW, 3),
    "many triggers": lambda market: [
        market.arm(1, TriggerOn.MID, TriggerDirection.BELOW, 3) for _ in range(90)
    ],
    "a trail": lambda market: market.arm_trailing(1, TriggerOn.TRADE, TriggerDirection.ABOVE, 2.0),
    "forgetting": lambda market: market.forget(0),
    "rebuilding": checkpointed,
    "a session": lambda market: market.set_session(1, NOW, 60 * S),
    "sums": lambda market: market.load_session(1, NOW, 3, 4.0, 5.0),
    "bars": lambda market: market.load_bars(0, 60, market.bars(1, 60, 5)),
    "time": lambda market: market.pass_time(1, NOW + 4000 * S),
}


@pytest.mark.parametrize("doing", DOINGS)
def test_whatever_is_done_to_a_restored_market_has_the_same_result(doing: str) -> None:
    market = played()
    again = Market.restore(market.snapshot())
    for each in (market, again):
        DOINGS[doing](each)
        assert each.consume(rows(104, 108, 50, since_s=2000), 0, 3) == 2
        assert each.fired_count == 2
    assert again.digest() == market.digest()
    assert again.rows_seen == market.rows_seen
    assert again.fired[: again.fired_count].tolist() == market.fired[: market.fired_count].tolist()
    for sym in range(2):
        assert again.indicators(sym) == market.indicators(sym)
        assert [again.trigger(slot) for slot in range(200)] == [market.trigger(slot) for slot in range(200)]


@pytest.mark.parametrize("head", [b"", b"x", b"\xff", b"[]", b"{}", b'{"v":2,"layout":"x"}'])
def test_what_is_no_snapshot_of_a_market_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="not one of this version"):
        Market.restore(head + b"\n" + b"\0" * 100)


@pytest.mark.parametrize(
    ("said", "claimed"),
    [
        (b'"table":65', b'"table":1000000000000'),
        (b'["A"]', b'["A","%s"]' % b'","'.join(b"%d" % n for n in range(9000))),
    ],
)
def test_a_snapshot_that_claims_more_than_it_has_is_refused_before_room_is_made(
    said: bytes, claimed: bytes
) -> None:
    snapshot = Market(("A",)).snapshot()
    assert snapshot.count(said) == 1
    with pytest.raises(ValueError, match="not one of this version"):
        Market.restore(snapshot.replace(said, claimed))


def test_a_snapshot_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\d+ expected, is not one of this version"):
        Market.restore(Market(("A",)).snapshot() + b"\0")
