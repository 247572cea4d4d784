"""Members: how one value of a document is read, and what agents are told about it.

Owns the readers (a number, a text, a word, a time), each with its piece of JSON schema, so that the two cannot come
apart. May not know which documents there are: that is `hands.core.intents`. The one idea: a reader gets what the JSON
parser made of the text (a number is nano-units, or a Decimal where its text is not plain) and returns what a document
holds, or raises ValueError in words for the agent; nothing of a document is repeated raw.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from hands.core.units import NANO, NS_PER_S, Ns, decimal_text, nano_down, nano_nearest

SECONDS_MAX = 10**7
AMOUNT_MAX = 10**9

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SYMBOL = r"[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?"
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse_time_ns(text: str) -> Ns:
    """Return an RFC 3339 time with an offset as Unix nanoseconds, exactly. Raises ValueError."""
    match = _TIME.match(text)
    if match is None:
        raise ValueError("must be an RFC 3339 time with an offset, like 2026-01-05T14:30:00Z")
    date, clock, fraction, offset = match.groups()
    moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    return Ns(int(moment.timestamp()) * NS_PER_S + int((fraction or "0").ljust(9, "0")))


# --- members: each reader takes the decoded value and returns what the document holds, or raises ValueError -----
# A decoded number is an int of nano-units where its text says so plainly, else a Decimal (`_number`).

Reader = Callable[[Any], Any]


class Member(NamedTuple):
    """One member of a document: how its value is read, the field it becomes, what agents are told."""

    read: Reader
    field: str
    schema: dict[str, Any]
    required: bool = True


def amount(
    low: int, high: int, *, low_open: bool = True, rounded: Callable[[Decimal], int] = nano_down
) -> tuple[Reader, dict[str, Any]]:
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
            raise ValueError(f"must be a JSON number, found {kind_of(value)}")
        if not low_nano <= found <= high_nano:
            interval = f"{'(' if low_open else '['}{low:g}, {high:g}]"
            raise ValueError(f"must be in {interval}, found {shown(value)}")
        return found

    bound = "exclusiveMinimum" if low_open else "minimum"
    return read, {"type": "number", bound: low, "maximum": high}


def text_of(most: int, least: int = 0) -> tuple[Reader, dict[str, Any]]:
    """Return the reader of a string of so many characters, and its schema."""

    def read(value: Any) -> str:
        text = _string(value)
        if not least <= len(text) <= most:
            raise ValueError(f"must have {least} to {most} characters, found {len(text)}")
        return text

    bounds = {"minLength": least, "maxLength": most} if least else {"maxLength": most}
    return read, {"type": "string", **bounds}


def _pattern(pattern: str, what: str, alphabet: str) -> tuple[Reader, dict[str, Any]]:
    """Return the reader of a string of that form; where a character is out of place, it is named."""
    match = re.compile(pattern, re.ASCII).fullmatch

    def read(value: Any) -> str:
        text = _string(value)
        if match(text) is None:
            odd = next((c for c in text[:64] if c not in alphabet), None)
            where = "" if odd is None else f": {character_name(odd)} at position {text.index(odd) + 1}"
            raise ValueError(f"must be {what}, found {shown(text)}{where}")
        return text

    return read, {"type": "string", "pattern": f"^{pattern}$"}


def word(words: dict[str, Any]) -> tuple[Reader, dict[str, Any]]:
    """Return the reader of one of `words`, which gives what stands behind it, and its schema."""

    def read(value: Any) -> Any:
        text = _string(value)
        if text not in words:
            allowed = " or ".join(repr(word) for word in words)
            raise ValueError(f"must be {allowed}, found {shown(text)}")
        return words[text]

    return read, {"type": "string", "enum": list(words)}


def _read_time(value: Any) -> Ns:
    return parse_time_ns(_string(value))


def _read_context(value: Any) -> dict[str, str | float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, found {kind_of(value)}")  # noqa: TRY004  (a reader's protocol)
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
        raise ValueError(f"must be a string, found {kind_of(value)}")  # noqa: TRY004  (a reader's protocol)
    odd = _UNSTORABLE.search(value)
    if odd is not None:
        raise ValueError(f"{character_name(odd[0])} at position {odd.start() + 1} can be stored nowhere")
    return value


PRICE = amount(0, AMOUNT_MAX, rounded=nano_nearest)
SECONDS = amount(0, SECONDS_MAX)
SIZE = amount(0, AMOUNT_MAX)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ID = _pattern(UUID, "a canonical lower-case UUID", "0123456789abcdef-")
ASSET = _pattern(_SYMBOL, 'a symbol like "AAPL" or "SOL/USD"', f"{_LETTERS}0123456789./")
_FLAT = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 256}]},
}


def member(
    field: str, kind: tuple[Reader, dict[str, Any]], says: str = "", *, required: bool = True
) -> Member:
    read, schema = kind
    return Member(read, field, schema | ({"description": says} if says else {}), required)


def option(field: str, kind: tuple[Reader, dict[str, Any]], says: str = "") -> Member:
    return member(field, kind, says, required=False)


TIME = _read_time, {"type": "string", "format": "date-time"}
THESIS = option("thesis", text_of(4096), "kept for memory, never interpreted")
CONTEXT = option("context", (_read_context, _FLAT), "flat object of numbers and short strings, for memory")
SIGNATURE = option("signature", text_of(1024))


# --- words for agents; nothing of a document is repeated raw: it may hold what a terminal obeys ----------------


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "an array"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """Return a value of a document for a message: short, and in ASCII."""
    if isinstance(value, str):
        return json.dumps(value[:60])[:60]
    if type(value) is int:
        return decimal_text(value)
    return str(value)[:60] if isinstance(value, Decimal) else kind_of(value)


def name_of(key: str) -> str:
    return key[:80] if key.isascii() and key.isidentifier() else ascii(key[:40])


def character_name(character: str) -> str:
    """Return a character so that it cannot be taken for another: by its number and name where it is not ASCII."""
    if character.isascii() and character.isprintable():
        return repr(character)
    kind = _NAMELESS.get(unicodedata.category(character), "a character without a name")
    return f"U+{ord(character):04X} {unicodedata.name(character, kind)}"


_NAMELESS = {"Cc": "a control character", "Cs": "half of a surrogate pair", "Co": "a private character"}


def first_three(problems: list[str]) -> str:
    rest = len(problems) - 3
    return "; ".join(problems[:3]) + (f"; and {rest} more" if rest > 0 else "")
