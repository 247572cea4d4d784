"""What an agent may say: the intent document, read with zero trust.

Owns the strict reading of raw bytes into an `Intent` (or a `Refusal` that says what was found and what is
allowed), and the JSON schema agents are given, which is made from the same table of members. May not judge: whether
an intent is wise is `hands.core.risk`. The one idea: numbers are read from their *text*, digits and exponent bounded
first, never through a float, and duplicate keys are caught by the parser's own hook, because most parsers silently
keep the last one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec

from hands.core.units import (
    NANO,
    NS_PER_S,
    Ns,
    NumberError,
    Price,
    Qty,
    Ratio,
    decimal_text,
    nano_down,
    nano_nearest,
    parse_decimal,
)
from hands.core.vocab import Code, Direction

SIZE_MAX = 64 * 1024
DEPTH_MAX = 8
VALUES_MAX = 200
"""More values than the fullest document has (20 members, one of them `context` with 64)."""

SECONDS_MAX = 10**7
_AMOUNT_MAX = 10**9
_PLAIN_DIGITS = 18
"""A number without sign and exponent, of at most so many characters and nine decimals, needs no Decimal."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SYMBOL = r"[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?"
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why bytes are not a document; `intent_id` where it could be made out."""

    code: Code
    message: str
    intent_id: str | None = None


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


def parse_time_ns(text: str) -> Ns:
    """Return an RFC 3339 time with an offset as Unix nanoseconds, exactly. Raises ValueError."""
    match = _TIME.match(text)
    if match is None:
        raise ValueError("must be an RFC 3339 time with an offset, like 2026-01-05T14:30:00Z")
    date, clock, fraction, offset = match.groups()
    moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    return Ns(int(moment.timestamp()) * NS_PER_S + int((fraction or "0").ljust(9, "0")))


# --- members: each reader takes the decoded value and returns what the Intent holds, or raises ValueError -----
# A decoded number is an int of nano-units where its text says so plainly, else a Decimal (`_number`).

_Reader = Callable[[Any], Any]


class _Member(NamedTuple):
    """One member of a document: how its value is read, the field of `Intent` it becomes, what agents are told."""

    read: _Reader
    field: str
    schema: dict[str, Any]
    required: bool = True


def _amount(
    low: int, high: int, *, low_open: bool = True, rounded: Callable[[Decimal], int] = nano_down
) -> tuple[_Reader, dict[str, Any]]:
    """Return the reader of a JSON number between whole `low` and `high`, in nano-units, and its schema.

    Agents write all digits of a binary float (147.00000000000003): what is finer than a nano-unit is rounded.
    """
    low_nano, high_nano = low * NANO + low_open, high * NANO

    def read(value: Any) -> int:
        if isinstance(value, Decimal):
            found = rounded(value) if low <= value <= high and not value.is_signed() else -1
        elif type(value) is int:
            found = value
        else:
            raise ValueError(f"must be a JSON number, found {_kind(value)}")
        if not low_nano <= found <= high_nano:
            interval = f"{'(' if low_open else '['}{low:g}, {high:g}]"
            raise ValueError(f"must be in {interval}, found {_shown(value)}")
        return found

    bound = "exclusiveMinimum" if low_open else "minimum"
    return read, {"type": "number", bound: low, "maximum": high}


def _text(most: int, least: int = 0) -> tuple[_Reader, dict[str, Any]]:
    """Return the reader of a string of so many characters, and its schema."""

    def read(value: Any) -> str:
        text = _string(value)
        if not least <= len(text) <= most:
            raise ValueError(f"must have {least} to {most} characters, found {len(text)}")
        return text

    bounds = {"minLength": least, "maxLength": most} if least else {"maxLength": most}
    return read, {"type": "string", **bounds}


def _pattern(pattern: str, what: str, alphabet: str) -> tuple[_Reader, dict[str, Any]]:
    """Return the reader of a string of that form; where a character is out of place, it is named."""
    match = re.compile(pattern, re.ASCII).fullmatch

    def read(value: Any) -> str:
        text = _string(value)
        if match(text) is None:
            odd = next((c for c in text[:64] if c not in alphabet), None)
            where = "" if odd is None else f": {_character(odd)} at position {text.index(odd) + 1}"
            raise ValueError(f"must be {what}, found {_shown(text)}{where}")
        return text

    return read, {"type": "string", "pattern": f"^{pattern}$"}


def _word(words: dict[str, Any]) -> tuple[_Reader, dict[str, Any]]:
    """Return the reader of one of `words`, which gives what stands behind it, and its schema."""

    def read(value: Any) -> Any:
        text = _string(value)
        if text not in words:
            allowed = " or ".join(repr(word) for word in words)
            raise ValueError(f"must be {allowed}, found {_shown(text)}")
        return words[text]

    return read, {"type": "string", "enum": list(words)}


def _time(value: Any) -> Ns:
    return parse_time_ns(_string(value))


def _context(value: Any) -> dict[str, str | float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, found {_kind(value)}")  # noqa: TRY004  (a reader's protocol)
    if len(value) > 64:
        raise ValueError(f"at most 64 members, found {len(value)}")
    flat: dict[str, str | float] = {}
    for key, member in value.items():
        if len(_string(key)) > 64:
            raise ValueError("its names have at most 64 characters")
        if type(member) is int:
            flat[key] = member / NANO
        elif isinstance(member, Decimal):
            flat[key] = float(member)
        elif isinstance(member, str) and len(member) <= 256:
            flat[key] = _string(member)
        else:
            raise ValueError(f"{key[:64]!a} must be a number or a string of at most 256 characters")
    return flat


def _string(value: Any) -> str:
    """Return a string that can be stored everywhere."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, found {_kind(value)}")  # noqa: TRY004  (a reader's protocol)
    odd = _UNSTORABLE.search(value)
    if odd is not None:
        raise ValueError(f"{_character(odd[0])} at position {odd.start() + 1} can be stored nowhere")
    return value


_PRICE = _amount(0, _AMOUNT_MAX, rounded=nano_nearest)
_SECONDS = _amount(0, SECONDS_MAX)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID = _pattern(_UUID, "a canonical lower-case UUID", "0123456789abcdef-")
_ASSET = _pattern(_SYMBOL, 'a symbol like "AAPL" or "SOL/USD"', f"{_LETTERS}0123456789./")
_CONTEXT = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 256}]},
}


def _member(
    field: str, kind: tuple[_Reader, dict[str, Any]], says: str = "", *, required: bool = True
) -> _Member:
    read, schema = kind
    return _Member(read, field, schema | ({"description": says} if says else {}), required)


def _option(field: str, kind: tuple[_Reader, dict[str, Any]], says: str = "") -> _Member:
    return _member(field, kind, says, required=False)


_MEMBERS: dict[str, _Member] = {
    "intent_id": _member("intent_id", _ID, "canonical lower-case UUID; never used twice"),
    "asset": _member("asset", _ASSET, '"AAPL", "SOL/USD"'),
    "direction": _member("direction", _word({str(side): side for side in Direction})),
    "trigger_price": _member(
        "trigger_price", _PRICE, "the price the idea is about; the limit follows from it"
    ),
    "take_profit": _member("take_profit", _PRICE, "target price"),
    "stop_loss": _member("stop_loss", _PRICE, "protective stop price"),
    "confidence": _member("confidence", _amount(0, 1, low_open=False), "0..1"),
    "strategy_ref": _member("strategy_ref", _text(128, 1)),
    "timestamp": _member(
        "timestamp_ns",
        (_time, {"type": "string", "format": "date-time"}),
        "when the idea was had: RFC 3339 with an offset",
    ),
    "ttl_seconds": _member("ttl_ns", _SECONDS, "not sent, or cancelled where unfilled, after this long"),
    "kind": _option("kind", _word({"intent": "intent"})),
    "entry": _option(
        "entry", _word({"now": "now", "touch": "touch"}), "touch: wait until trigger_price trades"
    ),
    "arm_seconds": _option("arm_ns", _SECONDS, "touch only: how long to wait"),
    "qty": _option("qty", _amount(0, _AMOUNT_MAX), "a ceiling for the size, never a floor"),
    "max_hold_seconds": _option("max_hold_ns", _SECONDS, "exit after this long in the position"),
    "trailing_stop_pct": _option("trailing_stop_pct", _amount(0, 1)),
    "thesis": _option("thesis", _text(4096), "kept for memory, never interpreted"),
    "context": _option(
        "context", (_context, _CONTEXT), "flat object of numbers and short strings, for memory"
    ),
    "approval_id": _option("approval_id", _text(128)),
    "signature": _option("signature", _text(1024)),
}
_REQUIRED = frozenset(name for name, member in _MEMBERS.items() if member.required)


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


def read_document(data: bytes) -> Intent | Refusal:
    """Read a document's bytes strictly.

    Returns the `Intent`, or the `Refusal` naming the first thing wrong; never raises on any bytes.
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
        found = f", found {_character(error.doc[error.pos])}" if error.pos < len(error.doc) else ""
        message = f"{error.msg} at line {error.lineno} column {error.colno}{found}"
        return Refusal(code=Code.MALFORMED_JSON, message=message)
    except _DuplicateKeyError as error:
        return Refusal(code=Code.DUPLICATE_KEY, message=str(error))
    except _NotFiniteError as error:
        return Refusal(code=Code.NOT_FINITE, message=str(error))
    except NumberError as error:
        return Refusal(code=Code.SCHEMA, message=str(error)[:300])
    if not isinstance(document, dict):
        return Refusal(code=Code.SCHEMA, message=f"must be a JSON object, found {_kind(document)}")
    return _read_members(document)


def _read_members(document: dict[str, Any]) -> Intent | Refusal:
    """Return the intent that decoded members make, or everything that is wrong with them."""
    kind = document.get("kind", "intent")
    if kind != "intent":
        message = f"kind: only 'intent' is offered by this version, found {_shown(kind)}"
        return Refusal(code=Code.SCHEMA, message=message, intent_id=_known_id(document))
    fields: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in document.items():
        member = _MEMBERS.get(name)
        if member is None:
            problems.append(f"{_name(name)}: is not a known key")
            continue
        try:
            fields[member.field] = member.read(value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if not document.keys() >= _REQUIRED:
        problems += [f"{name}: is required" for name in _MEMBERS if name in _REQUIRED - document.keys()]
    if "arm_seconds" in document and document.get("entry") != "touch":
        problems.append('arm_seconds is allowed only with entry "touch"')
    if problems:
        return Refusal(code=Code.SCHEMA, message=_first_three(problems), intent_id=_known_id(document))
    fields.pop("kind", None)
    return Intent(**fields)


def _known_id(document: dict[str, Any]) -> str | None:
    found = document.get("intent_id")
    return found if isinstance(found, str) and re.fullmatch(_UUID, found) else None


# --- words for agents; nothing of a document is repeated raw: it may hold what a terminal obeys ----------------


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "an array"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    """Return a value of a document for a message: short, and in ASCII."""
    if isinstance(value, str):
        return json.dumps(value[:60])[:60]
    if type(value) is int:
        return decimal_text(value)
    return str(value)[:60] if isinstance(value, Decimal) else _kind(value)


def _name(key: str) -> str:
    return key[:80] if key.isascii() and key.isidentifier() else ascii(key[:40])


def _character(character: str) -> str:
    """Return a character so that it cannot be taken for another: by its number and name where it is not ASCII."""
    if character.isascii() and character.isprintable():
        return repr(character)
    kind = _NAMELESS.get(unicodedata.category(character), "a character without a name")
    return f"U+{ord(character):04X} {unicodedata.name(character, kind)}"


_NAMELESS = {"Cc": "a control character", "Cs": "half of a surrogate pair", "Co": "a private character"}


def _first_three(problems: list[str]) -> str:
    rest = len(problems) - 3
    return "; ".join(problems[:3]) + (f"; and {rest} more" if rest > 0 else "")


def intent_schema() -> dict[str, Any]:
    """Return the JSON schema of an intent, as agents are given it. Optional means absent, never null."""
    return {
        "title": "Hands intent",
        "description": "An intent to trade: what, at what price, with which stop and target, how sure, and until when.",
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, member in _MEMBERS.items() if member.required],
        "properties": {name: member.schema for name, member in _MEMBERS.items()},
    }
