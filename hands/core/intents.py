"""What an agent may say: the intent document, read with zero trust.

Owns the strict reading of raw bytes into an `Intent` (or a `Refusal` that says what was found and what is
allowed), and the JSON schema agents are given. May not judge: whether an intent is wise is `hands.core.risk`.
The one idea: numbers are read from their *text* through Decimal with digits and exponent bounded first, and
duplicate keys are caught by the parser's own hook, because most parsers silently keep the last one.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from hands.core.units import (
    NANO,
    NS_PER_S,
    Ns,
    NumberError,
    Price,
    Qty,
    Ratio,
    nano_from_decimal,
    parse_decimal,
)
from hands.core.vocab import Code, Direction

SIZE_MAX = 64 * 1024
DEPTH_MAX = 8
SECONDS_MAX = 10**7
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_SYMBOL = r"^[A-Z][A-Z0-9.]{0,11}(/[A-Z]{2,6})?$"
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z",
    re.ASCII,
)


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


def _nano_number(low: int, high: int, *, low_open: bool) -> PlainValidator:
    """Return a validator that takes only a JSON number (read as Decimal) within the bounds, in nano-units."""

    def read(value: Any) -> int:
        if not isinstance(value, Decimal):
            raise ValueError(f"must be a JSON number, found {_kind(value)}")  # noqa: TRY004  (pydantic's protocol)
        found = nano_from_decimal(value)
        if not low <= found <= high or (low_open and found == low):
            interval = f"{'(' if low_open else '['}{low / NANO:g}, {high / NANO:g}]"
            raise ValueError(f"must be in {interval}, found {value}")
        return found

    return PlainValidator(read)


def _kind(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "an array", Decimal: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _time(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError(f"must be a string, found {_kind(value)}")  # noqa: TRY004
    return parse_time_ns(value)


def _context(value: Any) -> dict[str, str | float]:
    if not isinstance(value, dict):
        raise ValueError(f"must be an object, found {_kind(value)}")  # noqa: TRY004
    if len(value) > 64:
        raise ValueError(f"at most 64 members, found {len(value)}")
    flat: dict[str, str | float] = {}
    for key, member in value.items():
        if len(key) > 64:
            raise ValueError("its names have at most 64 characters")
        if isinstance(member, Decimal):
            flat[key] = float(member)
        elif isinstance(member, str) and len(member) <= 256:
            flat[key] = member
        else:
            raise ValueError(f"{key[:64]!r} must be a number or a string of at most 256 characters")
    return flat


def _schema(low: float, high: float, *, low_open: bool) -> WithJsonSchema:
    bound = "exclusiveMinimum" if low_open else "minimum"
    return WithJsonSchema({"type": "number", bound: low, "maximum": high})


_AMOUNT_MAX = 10**9
_Amount = Annotated[
    int,
    _nano_number(0, _AMOUNT_MAX * NANO, low_open=True),
    _schema(0, _AMOUNT_MAX, low_open=True),
]
_Fraction = Annotated[int, _nano_number(0, NANO, low_open=False), _schema(0, 1, low_open=False)]
_PositiveFraction = Annotated[int, _nano_number(0, NANO, low_open=True), _schema(0, 1, low_open=True)]
_Seconds = Annotated[
    int,
    _nano_number(0, SECONDS_MAX * NANO, low_open=True),
    _schema(0, SECONDS_MAX, low_open=True),
]
_Time = Annotated[int, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
_Context = Annotated[
    dict[str, str | float],
    PlainValidator(_context),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 256}]},
        }
    ),
]


class IntentDocument(BaseModel):
    """An intent to trade: what, at what price, with which stop and target, how sure, and until when."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title="Hands intent")

    intent_id: str = Field(pattern=_UUID, description="canonical lower-case UUID; never used twice")
    asset: str = Field(pattern=_SYMBOL, description='"AAPL", "SOL/USD"')
    direction: Literal["LONG", "SHORT"]
    trigger_price: _Amount = Field(description="the price the idea is about; the limit follows from it")
    take_profit: _Amount = Field(description="target price")
    stop_loss: _Amount = Field(description="protective stop price")
    confidence: _Fraction = Field(description="0..1")
    strategy_ref: str = Field(min_length=1, max_length=128)
    timestamp: _Time = Field(description="when the idea was had: RFC 3339 with an offset")
    ttl_seconds: _Seconds = Field(description="not sent, or cancelled where unfilled, after this long")
    kind: Literal["intent"] = "intent"
    entry: Literal["now", "touch"] = Field("now", description="touch: wait until trigger_price trades")
    arm_seconds: _Seconds | None = Field(None, description="touch only: how long to wait")
    qty: _Amount | None = Field(None, description="a ceiling for the size, never a floor")
    max_hold_seconds: _Seconds | None = Field(None, description="exit after this long in the position")
    trailing_stop_pct: _PositiveFraction | None = None
    thesis: str | None = Field(None, max_length=4096, description="kept for memory, never interpreted")
    context: _Context | None = Field(None, description="flat object of numbers and short strings, for memory")
    approval_id: str | None = Field(None, max_length=128)
    signature: str | None = Field(None, max_length=1024)

    @model_validator(mode="after")
    def _arm_seconds_needs_touch(self) -> IntentDocument:
        if self.arm_seconds is not None and self.entry != "touch":
            raise ValueError('arm_seconds is allowed only with entry "touch"')
        return self


class _DuplicateKeyError(ValueError):
    pass


class _NotFiniteError(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(f"the key {twice[:64]!r} appears twice")
    for key, value in pairs:
        if value is None:
            raise NumberError(f"{key[:64]!r}: null is not a value; leave the key out")
    return document


def _constant(text: str) -> NoReturn:
    raise _NotFiniteError(f"{text} is not a number")


_decoder = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=parse_decimal, parse_int=parse_decimal, parse_constant=_constant
)


def _depth(text: str) -> int:
    """Return how deep arrays and objects nest; brackets inside strings do not count."""
    if text.count("{") + text.count("[") <= DEPTH_MAX:
        return 0
    depth = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', text):
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


def read_document(data: bytes) -> Intent | Refusal:
    """Read a document's bytes strictly.

    Returns the `Intent`, or the `Refusal` naming the first thing wrong; never raises on any bytes.
    """
    if len(data) > SIZE_MAX:
        return Refusal(code=Code.TOO_LARGE, message=f"{len(data)} bytes; at most {SIZE_MAX} are read")
    document: Any = None
    try:
        text = data.decode("utf-8")
        if _depth(text) > DEPTH_MAX:
            return Refusal(code=Code.SCHEMA, message=f"nested deeper than {DEPTH_MAX} levels")
        document = _decoder.decode(text)
        if not isinstance(document, dict):
            return Refusal(code=Code.SCHEMA, message=f"must be a JSON object, found {_kind(document)}")
        kind = document.get("kind", "intent")
        if kind != "intent":
            message = f"kind: only 'intent' is offered by this version, found {_shown(kind)}"
            return Refusal(code=Code.SCHEMA, message=message, intent_id=_known_id(document))
        parsed = IntentDocument.model_validate(document)
        return _intent(parsed)
    except UnicodeDecodeError as error:
        return Refusal(code=Code.MALFORMED_JSON, message=f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        return Refusal(
            code=Code.MALFORMED_JSON, message=f"{error.msg} at line {error.lineno} column {error.colno}"
        )
    except _DuplicateKeyError as error:
        return Refusal(code=Code.DUPLICATE_KEY, message=str(error))
    except _NotFiniteError as error:
        return Refusal(code=Code.NOT_FINITE, message=str(error))
    except ValidationError as error:
        return Refusal(code=Code.SCHEMA, message=_explain(error), intent_id=_known_id(document))
    except (NumberError, UnicodeEncodeError) as error:
        return Refusal(code=Code.SCHEMA, message=str(error)[:300], intent_id=_known_id(document))
    except RecursionError:
        return Refusal(code=Code.SCHEMA, message=f"nested deeper than {DEPTH_MAX} levels")


def _shown(value: Any) -> str:
    """Return a value of a document for a message: short, and in ASCII."""
    return json.dumps(value, default=str)[:60]


def _known_id(document: Any) -> str | None:
    found = document.get("intent_id") if isinstance(document, dict) else None
    return found if isinstance(found, str) and re.fullmatch(_UUID, found) else None


def _explain(error: ValidationError) -> str:
    """Return the first three problems of a document, each as `key: what is wrong`."""
    problems = []
    for item in error.errors(include_url=False, include_context=False)[:3]:
        where = ".".join(str(part) for part in item["loc"])[:80]
        message = item["msg"].removeprefix("Value error, ")
        match item["type"]:
            case "missing":
                message = "is required"
            case "extra_forbidden":
                message = "is not a known key"
            case "string_type" | "literal_error" | "string_pattern_mismatch":
                message = f"{message}, found {_shown(item['input'])}"
        problems.append(f"{where}: {message}" if where else message)
    rest = error.error_count() - len(problems)
    return "; ".join(problems) + (f"; and {rest} more" if rest > 0 else "")


def _intent(document: IntentDocument) -> Intent:
    for text in (document.strategy_ref, document.thesis, document.approval_id, document.signature):
        if text is not None:
            text.encode(
                "utf-8"
            )  # a lone surrogate could be stored nowhere: it raises UnicodeEncodeError here
    for key, value in (document.context or {}).items():
        f"{key}{value}".encode()
    return Intent(
        intent_id=document.intent_id,
        asset=document.asset,
        direction=Direction(document.direction),
        trigger_price=Price(document.trigger_price),
        take_profit=Price(document.take_profit),
        stop_loss=Price(document.stop_loss),
        confidence=Ratio(document.confidence),
        strategy_ref=document.strategy_ref,
        timestamp_ns=Ns(document.timestamp),
        ttl_ns=Ns(document.ttl_seconds),
        entry=document.entry,
        arm_ns=None if document.arm_seconds is None else Ns(document.arm_seconds),
        qty=None if document.qty is None else Qty(document.qty),
        max_hold_ns=None if document.max_hold_seconds is None else Ns(document.max_hold_seconds),
        trailing_stop_pct=None if document.trailing_stop_pct is None else Ratio(document.trailing_stop_pct),
        thesis=document.thesis,
        context=document.context,
        approval_id=document.approval_id,
        signature=document.signature,
    )


def intent_schema() -> dict[str, Any]:
    """Return the JSON schema of an intent, as agents are given it."""
    schema = IntentDocument.model_json_schema()
    for property_schema in schema["properties"].values():
        options = property_schema.get("anyOf")
        if options and {"type": "null"} in options:  # optional means absent, never null
            property_schema.pop("anyOf")
            property_schema.pop("default", None)
            property_schema.update(next(option for option in options if option != {"type": "null"}))
    return schema
