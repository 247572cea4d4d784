"""The image of a `State`: everything that can influence what is decided later, as bytes, and a state made of it again.

Owns which attributes there are and how each is written down. May not decide, and leaves the market out: that has a
snapshot of its own (`Market.snapshot`). The one idea: an image is not a summary. Every order that is kept (of dicts, of
lists, of the heap of timers) is in it, so that two states with one image and one market decide alike for ever; what only
follows from the rest (sums, indices, merged limits) is left out and made again. An attribute of `State` that is not
named here stops the first image instead of being forgotten.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from functools import cache

import msgspec
from msgspec import inspect

from hands.core.change_ticket import ChangeTicket
from hands.core.events import AccountReport, Asset, Link, PositionSnapshot, SessionReport
from hands.core.ideas import Accepted, Ideas
from hands.core.limits import LimitsFile
from hands.core.market import Market
from hands.core.stakes import Stakes
from hands.core.state import (
    AgentBook,
    BreakerBook,
    Confirmation,
    DayBook,
    Halt,
    LimitsNote,
    LimitsRefused,
    Performance,
    Reason,
    Seen,
    State,
    StoppedOut,
    Waiting,
    encode,
)
from hands.core.ticket import Ticket
from hands.core.units import Ns, Price
from hands.core.vocab import Venue

WRITTEN_AHEAD: dict[str, type[msgspec.Struct]] = {
    "accepted": Accepted,
    "agent": AgentBook,
    "breakers": BreakerBook,
    "change": ChangeTicket,
    "day": DayBook,
    "halt": Halt,
    "limits": LimitsNote,
    "performance": Performance,
    "reason": Reason,
    "seen": Seen,
    "stopped_out": StoppedOut,
    "ticket": Ticket,
}
"""What is written ahead, by its kind."""


class ImageError(ValueError):
    """Bytes that are no image, or one of another shape: written by another version of this program."""


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state written down: a field per attribute of `State`, under its name, as it is.

    Otherwise written: what JSON has no form for (`armed_slots` and `changed` have pairs as keys), what is a class of its
    own (`stakes` are the committed tickets' ids as they were approved, `accepted` the ideas as they came, of which `void`
    died without a fill), and `timers`, the heap as it lies.
    """

    shape: str
    limits: LimitsFile
    venue: Venue
    rolls_ns: list[int]
    now_ns: Ns
    wall_offset_ns: int
    dry_run: bool
    venue_rejections_max: int
    account: AccountReport | None
    assets: dict[str, Asset]
    session: SessionReport | None
    positions: dict[str, PositionSnapshot]
    foreign: dict[str, str]
    foreign_seen_ns: dict[str, Ns]
    links: dict[Link, bool]
    reconciled: bool
    fence: int
    fenced_ns: Ns | None
    fence_patience_ns: Ns | None
    watchdog_acted: bool
    recount_due: bool
    truth_asked_ns: Ns | None
    truth_of_ns: Ns
    fills_asked_ns: Ns
    fills_due: dict[str, None] | None
    down_since_ns: dict[Link, Ns]
    venue_offsets_ns: dict[Link, int]
    confirmed: dict[str, Confirmation]
    quote_again_ns: dict[str, Ns]
    halts: dict[str, Halt]
    tickets: dict[str, Ticket]
    stakes: list[str]
    finished: dict[str, Ticket]
    changes: dict[str, ChangeTicket]
    by_order_id: dict[str, tuple[str, str]]
    by_client_id: dict[str, str]
    seen: dict[str, Seen]
    waiting: dict[str, dict[str, Waiting]]
    triggers: dict[int, tuple[str, str]]
    armed_slots: list[tuple[str, str, int]]
    accepted: list[Accepted]
    void: list[str]
    approvals: list[tuple[int, str]]
    suggested: tuple[int, int]
    stopped_out: dict[str, Ns]
    last_stop_price: dict[str, Price]
    day: DayBook
    performance: Performance
    agents: dict[str, AgentBook]
    reasons: dict[str, Reason]
    breakers: BreakerBook
    limits_note: LimitsNote | None
    limits_refused: LimitsRefused | None
    limits_loosened: tuple[str, ...]
    stopping: bool
    stopped: bool
    changed: list[tuple[str, str, msgspec.Raw]]
    receipts_due: dict[str, None]
    timers: list[tuple[int, str, str]]


OTHERWISE = frozenset(
    {"accepted", "approvals", "armed_slots", "changed", "changes", "finished", "stakes", "timers", "void"}
)
"""The fields that are no attribute as it is; the last two have no attribute of their name."""

AS_THEY_ARE = tuple(name for name in Image.__struct_fields__ if name != "shape" and name not in OTHERWISE)

KNOWN = (frozenset(AS_THEY_ARE) | OTHERWISE | {"market", "_timers", "_asked"}) - {"timers", "void"}
"""The attributes of a `State`: in the image, beside it (the market), or following from it (what timers are asked for)."""


class _Head(msgspec.Struct, frozen=True):
    """As much of an image as every version can read."""

    shape: str


def image_of(state: State) -> bytes:
    """Return the image of a state between two events: JSON, because its integers have no largest.

    Raises TypeError: the state has an attribute that an image does not know, or one that cannot be written down.
    """
    facts = vars(state)
    if facts.keys() != KNOWN:
        strange = ", ".join(sorted(facts.keys() ^ KNOWN))
        raise TypeError(f"a state whose image is not known: {strange}")
    return encode(
        Image(
            shape=shape(),
            finished=state.finished,
            changes=state.changes,
            stakes=state.stakes.in_order,
            armed_slots=[(*key, slot) for key, slot in state.armed_slots.items()],
            accepted=list(state.accepted),
            void=state.accepted.void,
            approvals=list(state.approvals),
            changed=[(*key, msgspec.Raw(encode(entity))) for key, entity in state.changed.items()],
            timers=state.timers,
            **{name: facts[name] for name in AS_THEY_ARE},
        )
    )


def restore_image(data: bytes, market: Market) -> State:
    """Return a state that decides as the one that `data` is the image of, on `market`, restored from the same moment.

    Raises ImageError: the bytes are no image, or one of another shape.
    """
    image = _read(data)
    state = State(image.limits, market, image.venue)
    for name in AS_THEY_ARE:
        setattr(state, name, getattr(image, name))
    state.finished, state.changes = OrderedDict(image.finished), OrderedDict(image.changes)
    state.armed_slots = {(intent_id, kind): slot for intent_id, kind, slot in image.armed_slots}
    state.accepted = Ideas(image.accepted, image.void)
    state.approvals = deque(image.approvals)
    state.timers = image.timers
    strange = [intent_id for intent_id in image.stakes if intent_id not in image.tickets]
    if strange:
        raise ImageError(f"an image that counts what is not in its live book: {', '.join(strange)}")
    state.stakes = Stakes(image.tickets[intent_id] for intent_id in image.stakes)
    for kind, key, raw in image.changed:
        state.changed[kind, key] = _entity(state, kind, key, bytes(raw))
    return state


def digest_of(state: State) -> str:
    """Return a SHA-256 of a state and its market, in hex: equal where both are. It makes an image, so it costs as much."""
    return digest(image_of(state), state.market)


def digest(image: bytes, market: Market) -> str:
    """Return `digest_of` of a state whose image was made just now."""
    whole = hashlib.sha256(image)
    whole.update(market.digest().encode())
    return whole.hexdigest()


def _read(data: bytes) -> Image:
    try:
        found = msgspec.json.decode(data, type=_Head).shape
        if found != shape():
            raise ImageError(
                f"an image of shape {found[:16]!r}, this version's is {shape()!r}: only the version that made it reads it"
            )
        return msgspec.json.decode(data, type=Image)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImageError(f"not the image of a state: {error}") from error


def _entity(state: State, kind: str, key: str, data: bytes) -> msgspec.Struct | None:
    """Return a changed entity, None for one that is gone: the state's own where that is what was written, since it
    goes on changing."""
    if data == b"null":
        return None
    if kind not in WRITTEN_AHEAD:
        raise ImageError(f"an image in which an entity of unknown kind {kind!r} has changed")
    own: msgspec.Struct | None
    match kind:
        case "ticket":
            own = state.ticket(key)
        case "change":
            own = state.changes.get(key)
        case "agent":
            own = state.agents.get(key)
        case "day" | "performance" | "breakers":
            own = getattr(state, kind)
        case _:
            own = None  # frozen ones: which of two equal ones it is does not matter
    if own is not None and encode(own) == data:
        return own
    try:
        return msgspec.json.decode(data, type=WRITTEN_AHEAD[kind])
    except msgspec.DecodeError as error:
        raise ImageError(f"an image whose changed {kind} {key!r} is none: {error}") from error


# --- the shape ---------------------------------------------------------------------------------------------------


@cache
def shape() -> str:
    """Return what tells this version's images from others': a digest of every record in one, field by field.

    Raises TypeError: a record has a field of a kind that would not come back as it was.
    """
    told: dict[str, str] = {}
    for record in (Image, *WRITTEN_AHEAD.values()):
        _tell(inspect.type_info(record), told)
    return hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:16]


_PLAIN = (
    inspect.BoolType,
    inspect.BytesType,
    inspect.FloatType,
    inspect.IntType,
    inspect.NoneType,
    inspect.RawType,
    inspect.StrType,
)


def _tell(info: inspect.Type, told: dict[str, str]) -> str:
    """Return what a value is, and add to `told` the records that are in it, by name."""
    match info:
        case inspect.StructType(cls=record, fields=fields):
            name = f"{record.__module__}.{record.__qualname__}"
            if name not in told:
                told[name] = ""  # one that holds its own kind asks again
                told[name] = ", ".join(f"{each.encode_name}: {_tell(each.type, told)}" for each in fields)
            return name
        case inspect.DictType(key_type=key, value_type=value):
            return f"dict[{_tell(key, told)}, {_tell(value, told)}]"
        case inspect.ListType(item_type=item):
            return f"list[{_tell(item, told)}]"
        case inspect.VarTupleType(item_type=item):
            return f"tuple[{_tell(item, told)}, ...]"
        case inspect.TupleType(item_types=items):
            return f"tuple[{', '.join(_tell(item, told) for item in items)}]"
        case inspect.UnionType(types=types):
            return " | ".join(_tell(each, told) for each in types)
        case inspect.EnumType(cls=words):
            return f"{words.__name__}{[str(word.value) for word in words]}"
        case inspect.LiteralType(values=values):
            return f"one of {values}"
    if not isinstance(info, _PLAIN):
        raise TypeError(f"{info} does not come back from an image as it was")
    return type(info).__name__
