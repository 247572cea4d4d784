"""The JSON Schema of a receipt (the contract's section 4), as agents are given it.

Owns the text only; `hands.core.receipts` writes the receipts and a test holds one against the other. The intent's
schema is made from its reader, `hands.core.intents`.
"""

from __future__ import annotations

from typing import Any

from hands.core.vocab import Code, ExitReason, Leg, ProtectionKind, Retry, Side, TradeState, Venue, Verdict

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_DECIMAL: Schema = {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}
_MAYBE_DECIMAL: Schema = {"type": ["string", "null"], "pattern": r"^-?\d+(\.\d+)?$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_STAMP: Schema = {"type": ["integer", "null"], "description": "Unix nanoseconds"}


def _one_of(words: type[Any]) -> Schema:
    return {"type": "string", "enum": [str(word) for word in words]}


def _object(properties: dict[str, Schema], *, nullable: bool = False) -> Schema:
    return {
        "type": ["object", "null"] if nullable else "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": True,
    }


def _nearest() -> Schema:
    """The members of the document to change, as the JSON values to write; only those that are named here."""
    numbers = ("trigger_price", "stop_loss", "take_profit", "qty", "ttl_seconds", "arm_seconds")
    number: Schema = {"type": "number", "exclusiveMinimum": 0}
    members = dict.fromkeys(numbers, number) | {"timestamp": _TIME}
    return {
        "type": ["object", "null"],
        "properties": members,
        "additionalProperties": False,
        "minProperties": 1,
    }


def receipt_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of a receipt. Members may be added; none is ever taken away."""
    check = _object(
        {
            "check": _TEXT,
            "ok": {"type": "boolean"},
            "observed": _MAYBE_TEXT,
            "limit": _MAYBE_TEXT,
            "age_ms": {"type": ["number", "null"]},
        }
    )
    order = {
        "client_order_id": _TEXT,
        "order_class": _TEXT,
        "side": _one_of(Side),
        "qty": _DECIMAL,
        "limit_price": _DECIMAL,
        "take_profit": _DECIMAL,
        "stop_loss": _DECIMAL,
        "risk_usd": _DECIMAL,
        "notional_usd": _DECIMAL,
    }
    fill = {"execution_id": _TEXT, "leg": _one_of(Leg), "qty": _DECIMAL, "price": _DECIMAL, "at_ns": _STAMP}
    exit_ = {
        "reason": _one_of(ExitReason),
        "price": _MAYBE_DECIMAL,
        "pnl_usd": _DECIMAL,
        "pnl_pct": _MAYBE_DECIMAL,
        "at": _MAYBE_TIME,
    }
    protection = {"kind": _one_of(ProtectionKind), "stop": _DECIMAL, "qty": _DECIMAL, "since_ns": _STAMP}
    stamps = ("file_event", "decided", "journaled", "sent", "acked", "filled")
    caps = {"type": "object", "additionalProperties": _DECIMAL}
    properties: dict[str, Schema] = {
        "v": {"const": 1},
        "intent_id": _MAYBE_TEXT,
        "kind": _MAYBE_TEXT,
        "agent": _TEXT,
        "venue": _one_of(Venue),
        "verdict": _one_of(Verdict),
        "code": _one_of(Code),
        "message": _TEXT,
        "state": _one_of(TradeState),
        "seq": {"type": "integer", "minimum": 0},
        "at": _TIME,
        "limits_sha256": _TEXT,
        "checks": {"type": "array", "items": check},
        "sizing": _object({"binding": _TEXT, "caps": caps}, nullable=True),
        "order": _object(order, nullable=True),
        "position": _object({"qty": _DECIMAL, "avg_price": _DECIMAL}, nullable=True),
        "protection": _object(protection, nullable=True),
        "levels": _object({"stop_loss": _DECIMAL, "take_profit": _MAYBE_DECIMAL}, nullable=True),
        "nearest_admissible": _nearest(),
        "retry": _one_of(Retry),
        "retry_at": _MAYBE_TIME,
        "fills": {"type": "array", "items": _object(fill)},
        "exit": _object(exit_, nullable=True),
        "stamps_ns": _object(dict.fromkeys(stamps, _STAMP)),
        "next": _TEXT,
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Hands receipt"}
    whole = _object(properties)
    whole["properties"]["target_id"] = _TEXT | {"description": "only of kinds cancel, close and amend"}
    return head | whole
