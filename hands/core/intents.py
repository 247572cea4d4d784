"""What an agent may say: the documents it can drop, read with zero trust.

Owns the strict reading of raw bytes into an `Intent`, a `Change` (of an intent that was sent before) or a `Refusal`
that says what was found and what is allowed, and the JSON schemas agents are given, which are made from the same
tables of members. May not judge: whether an intent is wise is `hands.core.risk`, whether there is anything to change
`hands.core.changes`. The one idea: numbers are read from their *text*, digits and exponent bounded first, never
through a float, and duplicate keys are caught by the parser's own hook, because most parsers silently keep the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec

from hands.core.members import (
    ASSET,
    CONTEXT,
    ID,
    PRICE,
    SECONDS,
    SIGNATURE,
    SIZE,
    THESIS,
    TIME,
    UUID,
    Member,
    amount,
    character_name,
    first_three,
    kind_of,
    member,
    name_of,
    option,
    shown,
    text_of,
    word,
)
from hands.core.units import Ns, NumberError, Price, Qty, Ratio, parse_decimal
from hands.core.vocab import Code, Direction

SIZE_MAX = 64 * 1024
DEPTH_MAX = 8
VALUES_MAX = 200
"""More values than the fullest document has (20 members, one of them `context` with 64)."""

_PLAIN_DIGITS = 18
"""A number without sign and exponent, of at most so many characters and nine decimals, needs no Decimal."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why bytes are not a document; `intent_id` and `kind` where they could be made out."""

    code: Code
    message: str
    intent_id: str | None = None
    kind: str = "intent"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was understood; prices and quantities in nano-units, durations in ns, times in Unix ns."""

    intent_id: str
    asset: str
    direction: Direction
    trigger_price: Price
    take_profit: Price
    stop_loss: Price
    confidence: Ratio
    strategy_ref: str
    timestamp_ns: Ns
    ttl_ns: Ns
    entry: Literal["now", "touch"] = "now"
    arm_ns: Ns | None = None
    qty: Qty | None = None
    max_hold_ns: Ns | None = None
    trailing_stop_pct: Ratio | None = None
    thesis: str | None = None
    context: dict[str, str | float] | None = None
    approval_id: str | None = None
    signature: str | None = None

    @property
    def is_long(self) -> bool:
        return self.direction is Direction.LONG


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A document that changes what became of an earlier intent, `target_id`; amounts as in `Intent`.

    A `close` without `qty` closes everything; an `amend` has at least one of the last three prices and durations.
    """

    kind: Literal["cancel", "close", "amend"]
    intent_id: str
    target_id: str
    qty: Qty | None = None
    stop_loss: Price | None = None
    take_profit: Price | None = None
    max_hold_ns: Ns | None = None
    timestamp_ns: Ns | None = None
    thesis: str | None = None
    context: dict[str, str | float] | None = None
    signature: str | None = None


# --- the documents: their members ----------------------------------------------------------------------------

_INTENT: dict[str, Member] = {
    "intent_id": member("intent_id", ID, "canonical lower-case UUID; never used twice"),
    "asset": member("asset", ASSET, '"AAPL", "SOL/USD"'),
    "direction": member("direction", word({str(side): side for side in Direction})),
    "trigger_price": member("trigger_price", PRICE, "the price the idea is about; the limit follows from it"),
    "take_profit": member("take_profit", PRICE, "target price"),
    "stop_loss": member("stop_loss", PRICE, "protective stop price"),
    "confidence": member("confidence", amount(0, 1, low_open=False), "0..1"),
    "strategy_ref": member("strategy_ref", text_of(128, 1)),
    "timestamp": member(
        "timestamp_ns",
        TIME,
        "when the idea was had: RFC 3339 with an offset",
    ),
    "ttl_seconds": member("ttl_ns", SECONDS, "not sent, or cancelled where unfilled, after this long"),
    "kind": option("kind", word({"intent": "intent"})),
    "entry": option(
        "entry", word({"now": "now", "touch": "touch"}), "touch: wait until trigger_price trades"
    ),
    "arm_seconds": option("arm_ns", SECONDS, "touch only: how long to wait"),
    "qty": option("qty", SIZE, "a ceiling for the size, never a floor"),
    "max_hold_seconds": option("max_hold_ns", SECONDS, "exit after this long in the position"),
    "trailing_stop_pct": option("trailing_stop_pct", amount(0, 1)),
    "thesis": THESIS,
    "context": CONTEXT,
    "approval_id": option("approval_id", text_of(128)),
    "signature": SIGNATURE,
}


def _change(kind: str, **own: Member) -> dict[str, Member]:
    """Return the members of a document that changes an earlier one: the common ones and its own."""
    return {
        "kind": member("kind", word({kind: kind})),
        "intent_id": member("intent_id", ID, "this document's own id; never used twice"),
        "target_id": member("target_id", ID, "the intent_id of the agent's own intent that is meant"),
        **own,
        "timestamp": option("timestamp_ns", TIME, "when it was decided: RFC 3339 with an offset"),
        "thesis": THESIS,
        "context": CONTEXT,
        "signature": SIGNATURE,
    }


class _Document(NamedTuple):
    """One kind of document: its members, what they become, and for which names at least one must be there."""

    says: str
    make: Callable[..., Intent | Change]
    members: Mapping[str, Member]
    one_of: tuple[str, ...] = ()

    @property
    def required(self) -> list[str]:
        return [name for name, found in self.members.items() if found.required]


_DOCUMENTS: dict[str, _Document] = {
    "intent": _Document(
        "An intent to trade: what, at what price, with which stop and target, how sure, and until when.",
        Intent,
        _INTENT,
    ),
    "cancel": _Document(
        "Takes back an intent that waits for its price, or what its entry has not filled.",
        Change,
        _change("cancel"),
    ),
    "close": _Document(
        "Closes what an intent holds, or a part of it.",
        Change,
        _change("close", qty=option("qty", SIZE, "how much to close; left out: all of it")),
    ),
    "amend": _Document(
        "Moves the stop closer, moves the target, or shortens how long the position is held.",
        Change,
        _change(
            "amend",
            stop_loss=option("stop_loss", PRICE, "the new stop; it can only be tightened"),
            take_profit=option("take_profit", PRICE, "the new target"),
            max_hold_seconds=option("max_hold_ns", SECONDS, "from the first fill; it can only be shortened"),
        ),
        one_of=("stop_loss", "take_profit", "max_hold_seconds"),
    ),
}
KINDS = tuple(_DOCUMENTS)
"""The kinds of document there are; one that does not say is an intent."""

_REQUIRED = {kind: frozenset(document.required) for kind, document in _DOCUMENTS.items()}


# --- from bytes to members -----------------------------------------------------------------------------------


class _DuplicateKeyError(ValueError):
    pass


class _NotFiniteError(ValueError):
    pass


def _number(text: str) -> int | Decimal:
    """Return a JSON number: nano-units where its text is plain, else its exact value. Raises NumberError."""
    if len(text) <= _PLAIN_DIGITS and text[0] != "-":
        whole, _, fraction = text.partition(".")
        if len(fraction) <= 9:
            try:
                return int(whole + fraction.ljust(9, "0"))
            except ValueError:
                pass  # it has an exponent
    return parse_decimal(text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(f"the key {twice[:64]!a} appears twice")
    if None in document.values():
        key = next(key for key, value in pairs if value is None)
        raise NumberError(f"{key[:64]!a}: null is not a value; leave the key out")
    return document


def _constant(text: str) -> NoReturn:
    raise _NotFiniteError(f"{text} is not a number")


_decoder = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_number, parse_int=_number, parse_constant=_constant
)
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def _shape_fault(text: str) -> str | None:
    """Return what is wrong with the number of values and their nesting; brackets and commas in strings do not count.

    It bounds what parsing can cost: 64 KiB of `1,1,1,` or of `[[[[` are ten milliseconds of it.
    """
    brackets = text.count("{") + text.count("[")
    if brackets <= DEPTH_MAX and brackets + text.count(",") <= VALUES_MAX:
        return None
    bare = _STRINGS.sub("", text)
    depth = 0
    for mark in islice(re.finditer(r"[\[\]{}]", bare), 2 * VALUES_MAX):
        depth += 1 if mark[0] in "[{" else -1
        if depth > DEPTH_MAX:
            return f"nested deeper than {DEPTH_MAX} levels"
    if bare.count(",") + bare.count("{") + bare.count("[") > VALUES_MAX:
        return f"more than {VALUES_MAX} values"
    return None


def read_document(data: bytes) -> Intent | Change | Refusal:
    """Read a document's bytes strictly.

    Returns the `Intent` or `Change`, or the `Refusal` naming the first thing wrong; never raises on any bytes.
    """
    if len(data) > SIZE_MAX:
        return Refusal(code=Code.TOO_LARGE, message=f"{len(data)} bytes; at most {SIZE_MAX} are read")
    try:
        text = data.decode("utf-8")
        fault = _shape_fault(text)
        if fault is not None:
            return Refusal(code=Code.SCHEMA, message=fault)
        document = _decoder.decode(text)
    except UnicodeDecodeError as error:
        return Refusal(code=Code.MALFORMED_JSON, message=f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        found = f", found {character_name(error.doc[error.pos])}" if error.pos < len(error.doc) else ""
        message = f"{error.msg} at line {error.lineno} column {error.colno}{found}"
        return Refusal(code=Code.MALFORMED_JSON, message=message)
    except _DuplicateKeyError as error:
        return Refusal(code=Code.DUPLICATE_KEY, message=str(error))
    except _NotFiniteError as error:
        return Refusal(code=Code.NOT_FINITE, message=str(error))
    except NumberError as error:
        return Refusal(code=Code.SCHEMA, message=str(error)[:300])
    if not isinstance(document, dict):
        return Refusal(code=Code.SCHEMA, message=f"must be a JSON object, found {kind_of(document)}")
    return _read_members(document)


def _read_members(document: dict[str, Any]) -> Intent | Change | Refusal:
    """Return what decoded members make, or everything that is wrong with them."""
    kind = document.get("kind", "intent")
    if not isinstance(kind, str) or kind not in _DOCUMENTS:
        message = f"kind: must be {_WORDS}, found {shown(kind)}"
        return Refusal(code=Code.SCHEMA, message=message, intent_id=_known_id(document))
    known, required = _DOCUMENTS[kind], _REQUIRED[kind]
    fields: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in document.items():
        found = known.members.get(name)
        if found is None:
            problems.append(f"{name_of(name)}: is not a known key{_belongs(kind, name)}")
            continue
        try:
            fields[found.field] = found.read(value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if not document.keys() >= required:
        problems += [f"{name}: is required" for name in known.members if name in required - document.keys()]
    if "arm_seconds" in document and kind == "intent" and document.get("entry") != "touch":
        problems.append('arm_seconds is allowed only with entry "touch"')
    if known.one_of and not document.keys() & set(known.one_of):
        problems.append(f"at least one of {', '.join(known.one_of)} is required")
    if problems:
        return Refusal(
            code=Code.SCHEMA, message=first_three(problems), intent_id=_known_id(document), kind=kind
        )
    if known.make is Intent:
        fields.pop("kind", None)
    return known.make(**fields)


_WORDS = " or ".join(repr(kind) for kind in KINDS)


def _belongs(kind: str, name: str) -> str:
    """Return a word on a key that only documents of other kinds have."""
    return f" of kind {kind!r}" if any(name in document.members for document in _DOCUMENTS.values()) else ""


def _known_id(document: dict[str, Any]) -> str | None:
    found = document.get("intent_id")
    return found if isinstance(found, str) and re.fullmatch(UUID, found) else None


def document_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of one kind of document, as agents are given it. Optional means absent, never null.

    Raises:
        KeyError: there is no such kind (`KINDS` has them).
    """
    document = _DOCUMENTS[kind]
    schema = {
        "title": f"Hands {kind}",
        "description": document.says,
        "type": "object",
        "additionalProperties": False,
        "required": document.required,
        "properties": {name: found.schema for name, found in document.members.items()},
    }
    if document.one_of:
        schema["anyOf"] = [{"required": [name]} for name in document.one_of]
    return schema


def intent_schema() -> dict[str, Any]:
    """Return the JSON schema of an intent."""
    return document_schema("intent")
